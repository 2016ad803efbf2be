//! Each account's history: read for the features, and extended by the payment, in one transaction.

use bank_chassis::clock;
use bank_chassis::database::Database;
use bank_chassis::group_commit::Operation;
use bank_chassis::proto::fraud::{AssessRequest, AssessResponse};
use sqlx::{Row, SqliteConnection};

use crate::model::{ENGINE, Features};

/// Velocity looks back this far.
const MINUTE_MILLIS: i64 = 60_000;

/// Answers are kept this long for repeated questions: longer than any payment stays unfinished.
const KEPT_MILLIS: i64 = 30 * 24 * 3_600_000;

/// Removes what is too old to be asked for again.
pub(crate) async fn forget_old(database: &Database) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM assessments WHERE assessed_at < ?")
        .bind(clock::now_millis() - KEPT_MILLIS)
        .execute(&database.writer)
        .await?;
    Ok(())
}

/// Judges a payment and learns from it, once.
#[derive(Debug)]
pub(crate) struct Assess {
    pub(crate) payment: AssessRequest,
}

impl Operation for Assess {
    type Outcome = AssessResponse;

    async fn apply(&self, connection: &mut SqliteConnection) -> sqlx::Result<AssessResponse> {
        if let Some(earlier) = self.earlier_answer(connection).await? {
            return Ok(earlier);
        }
        let now = clock::now_millis();
        let answer = self.features(connection, now).await?.score();
        self.learn(connection).await?;
        self.remember(connection, &answer, now).await?;
        Ok(answer)
    }
}

impl Assess {
    async fn earlier_answer(
        &self,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<Option<AssessResponse>> {
        let row =
            sqlx::query("SELECT decision, score, reasons FROM assessments WHERE payment_id = ?")
                .bind(&self.payment.payment_id)
                .fetch_optional(connection)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let reasons: &str = row.try_get("reasons")?;
        Ok(Some(AssessResponse {
            decision: row.try_get("decision")?,
            score: row.try_get("score")?,
            reasons: reasons.split_whitespace().map(str::to_owned).collect(),
            engine: ENGINE.to_owned(),
        }))
    }

    async fn features(
        &self,
        connection: &mut SqliteConnection,
        now: i64,
    ) -> sqlx::Result<Features> {
        let row = sqlx::query(
            "SELECT coalesce(h.payments, 0) AS payments, coalesce(h.sum_cents, 0.0) AS sum_cents,
                    coalesce(h.sum_squares, 0.0) AS sum_squares, p.payee IS NULL AS payee_is_new,
                    (SELECT count(*) FROM assessments WHERE account = q.account
                     AND assessed_at > ?) AS last_minute
             FROM (SELECT ? AS account, ? AS payee) q
             LEFT JOIN habits h ON h.account = q.account
             LEFT JOIN payees p ON p.account = q.account AND p.payee = q.payee",
        )
        .bind(now - MINUTE_MILLIS)
        .bind(&self.payment.from_account)
        .bind(&self.payment.to_account)
        .fetch_one(connection)
        .await?;
        let payments: u32 = row.try_get("payments")?;
        let count = f64::from(payments.max(1));
        let mean_cents = row.try_get::<f64, _>("sum_cents")? / count;
        let variance = row.try_get::<f64, _>("sum_squares")? / count - mean_cents * mean_cents;
        Ok(Features {
            amount_cents: self.amount(),
            payments,
            mean_cents,
            deviation_cents: variance.max(0.0).sqrt(),
            payee_is_new: row.try_get("payee_is_new")?,
            last_minute: row.try_get("last_minute")?,
        })
    }

    async fn learn(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO habits (account, payments, sum_cents, sum_squares) VALUES (?1, 1, ?2, ?2 * ?2)
             ON CONFLICT (account) DO UPDATE SET payments = payments + 1,
             sum_cents = sum_cents + ?2, sum_squares = sum_squares + ?2 * ?2",
        )
        .bind(&self.payment.from_account)
        .bind(self.amount())
        .execute(&mut *connection)
        .await?;
        sqlx::query("INSERT INTO payees (account, payee) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(&self.payment.from_account)
            .bind(&self.payment.to_account)
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn remember(
        &self,
        connection: &mut SqliteConnection,
        answer: &AssessResponse,
        now: i64,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO assessments (payment_id, account, amount_cents, decision, score, reasons,
             assessed_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.payment.payment_id)
        .bind(&self.payment.from_account)
        .bind(self.payment.amount_cents)
        .bind(answer.decision)
        .bind(answer.score)
        .bind(answer.reasons.join(" "))
        .bind(now)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Amounts are far below 2^53, where every integer is a float of its own.
    fn amount(&self) -> f64 {
        self.payment.amount_cents as f64
    }
}
