//! Payments and outbox in SQLite: every change is one operation of the group-committing writer.

use bank_chassis::clock;
use bank_chassis::database::Database;
use bank_chassis::group_commit::{Operation, WriteError, Writer};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::outbox::{self, Letter};
use crate::payment::{Payment, State};

/// One change of the database.
#[derive(Debug)]
pub(crate) enum Change {
    /// A request for a payment.
    Begin(Payment),
    /// The payment has got on from the state it was in.
    Step { from: State, to: Payment },
    /// The consumer has these letters.
    Delivered(Vec<i64>),
    /// The consumer refuses this letter; try it again no sooner than then.
    Refused { sequence: i64, next_attempt_at: i64 },
    /// The consumer fails at this letter while it takes others; try it again no sooner than then.
    Postponed { sequence: i64, next_attempt_at: i64 },
    /// The payment's step was tried in vain.
    Waits(Wait),
}

/// A payment that did not get on.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) payment: String,
    pub(crate) state: State,
    /// Why a person has to look at it, or empty.
    pub(crate) trouble: String,
    /// When to try again, at the earliest.
    pub(crate) next_attempt_at: i64,
}

/// What a change led to.
#[derive(Debug)]
pub(crate) enum Changed {
    /// The payment is new, or failed before and begins again.
    Begun(Payment),
    /// The key has its payment already.
    Existing(Payment),
    /// The key or the id belongs to a payment that asks for something else.
    Taken,
    /// Stored.
    Stored,
    /// Somebody else has brought the payment on; nothing was stored.
    Overtaken,
}

/// Reads and writes; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: Writer<Change>,
    readers: SqlitePool,
    /// Counts up when letters were added.
    letters: watch::Sender<u64>,
}

impl Store {
    pub(crate) fn start(database: &Database) -> (Self, JoinHandle<()>) {
        let (writer, written) = Writer::start(database);
        let letters = watch::Sender::new(0);
        (
            Self {
                writer,
                readers: database.readers.clone(),
                letters,
            },
            written,
        )
    }

    /// Returns when the change is committed.
    pub(crate) async fn change(&self, change: Change) -> Result<Changed, WriteError> {
        let adds_letters = matches!(&change, Change::Step { .. });
        let changed = self.writer.submit(change).await?;
        if adds_letters {
            self.letters
                .send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(changed)
    }

    /// Changes when there may be new letters.
    pub(crate) fn letters(&self) -> watch::Receiver<u64> {
        self.letters.subscribe()
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(crate) async fn payment(&self, id: &str) -> sqlx::Result<Option<Payment>> {
        let row = sqlx::query("SELECT * FROM payments WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| from_row(&row)).transpose()
    }

    /// Payments of an account, on either side, newest first.
    pub(crate) async fn payments_of(
        &self,
        account: &str,
        limit: u32,
    ) -> sqlx::Result<Vec<Payment>> {
        let rows = sqlx::query(
            "SELECT * FROM payments WHERE from_account = ?1 OR to_account = ?1
             ORDER BY created_at DESC LIMIT ?2",
        )
        .bind(account)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(from_row).collect()
    }

    /// Payments on their way that are due, those first that have waited longest.
    pub(crate) async fn pending(&self, limit: u32) -> sqlx::Result<Vec<Payment>> {
        let rows = sqlx::query(
            "SELECT * FROM payments WHERE state IN ('assessing', 'debiting', 'crediting', 'refunding')
             AND next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ?",
        )
        .bind(clock::now_millis())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(from_row).collect()
    }

    /// Undelivered letters to `consumer` that are due, oldest first, of those after sequence `after`.
    pub(crate) async fn due(
        &self,
        consumer: &str,
        after: i64,
        limit: u32,
    ) -> sqlx::Result<Vec<Letter>> {
        let rows = sqlx::query(
            "SELECT sequence, event_id, body, refusals, failures FROM outbox
             WHERE consumer = ? AND delivered_at IS NULL AND sequence > ? AND next_attempt_at <= ?
             ORDER BY sequence LIMIT ?",
        )
        .bind(consumer)
        .bind(after)
        .bind(clock::now_millis())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(letter_from_row).collect()
    }

    /// The newest undelivered letter to `consumer` that is due.
    pub(crate) async fn newest(&self, consumer: &str) -> sqlx::Result<Option<Letter>> {
        let row = sqlx::query(
            "SELECT sequence, event_id, body, refusals, failures FROM outbox
             WHERE consumer = ? AND delivered_at IS NULL AND next_attempt_at <= ?
             ORDER BY sequence DESC LIMIT 1",
        )
        .bind(consumer)
        .bind(clock::now_millis())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(letter_from_row).transpose()
    }
}

impl Operation for Change {
    type Outcome = Changed;

    async fn apply(&self, connection: &mut SqliteConnection) -> sqlx::Result<Changed> {
        match self {
            Self::Begin(payment) => begin(connection, payment).await,
            Self::Step { from, to } => step(connection, *from, to).await,
            Self::Delivered(sequences) => delivered(connection, sequences).await,
            Self::Refused {
                sequence,
                next_attempt_at,
            } => {
                sqlx::query(
                    "UPDATE outbox SET refusals = refusals + 1, next_attempt_at = ?
                     WHERE sequence = ?",
                )
                .bind(next_attempt_at)
                .bind(sequence)
                .execute(connection)
                .await?;
                Ok(Changed::Stored)
            }
            Self::Postponed {
                sequence,
                next_attempt_at,
            } => {
                sqlx::query(
                    "UPDATE outbox SET failures = failures + 1, next_attempt_at = ?
                     WHERE sequence = ?",
                )
                .bind(next_attempt_at)
                .bind(sequence)
                .execute(connection)
                .await?;
                Ok(Changed::Stored)
            }
            Self::Waits(wait) => waits(connection, wait).await,
        }
    }
}

async fn begin(connection: &mut SqliteConnection, payment: &Payment) -> sqlx::Result<Changed> {
    let row =
        sqlx::query("SELECT * FROM payments WHERE key = ?1 OR id = ?2 ORDER BY key = ?1 DESC")
            .bind(&payment.key)
            .bind(&payment.id)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(row) = row else {
        insert(connection, payment).await?;
        return Ok(Changed::Begun(payment.clone()));
    };
    let existing = from_row(&row)?;
    if existing.key != payment.key || !existing.asks_the_same(payment) {
        return Ok(Changed::Taken);
    }
    if existing.state != State::Failed {
        return Ok(Changed::Existing(existing));
    }
    let again = existing.because(State::Assessing, "");
    step(connection, State::Failed, &again).await?;
    Ok(Changed::Begun(again))
}

async fn insert(connection: &mut SqliteConnection, payment: &Payment) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO payments (id, key, from_account, to_account, amount_cents, currency, reference,
         state, created_at, updated_at, next_attempt_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&payment.id)
    .bind(&payment.key)
    .bind(&payment.from)
    .bind(&payment.to)
    .bind(payment.amount_cents)
    .bind(&payment.currency)
    .bind(&payment.reference)
    .bind(payment.state.word())
    .bind(payment.created_at)
    .bind(payment.created_at)
    .bind(payment.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores the payment and, if it has ended, what others are to be told: both or neither.
async fn step(
    connection: &mut SqliteConnection,
    from: State,
    to: &Payment,
) -> sqlx::Result<Changed> {
    let now = clock::now_millis();
    let updated = sqlx::query(
        "UPDATE payments SET state = ?, from_customer = ?, to_customer = ?, engine = ?, decision = ?,
         score = ?, reason = ?, updated_at = ?, attempts = 0, next_attempt_at = ?, trouble = ''
         WHERE id = ? AND state = ?",
    )
    .bind(to.state.word())
    .bind(&to.from_customer)
    .bind(&to.to_customer)
    .bind(&to.engine)
    .bind(&to.decision)
    .bind(to.score)
    .bind(&to.reason)
    .bind(now)
    .bind(now)
    .bind(&to.id)
    .bind(from.word())
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() == 0 {
        return Ok(Changed::Overtaken);
    }
    if let Some(event) = to.event(now) {
        let body =
            serde_json::to_string(&event).map_err(|error| sqlx::Error::Encode(error.into()))?;
        for consumer in outbox::CONSUMERS {
            sqlx::query(
                "INSERT INTO outbox (event_id, consumer, body, created_at) VALUES (?, ?, ?, ?)",
            )
            .bind(&event.id)
            .bind(consumer)
            .bind(&body)
            .bind(now)
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(Changed::Stored)
}

async fn waits(connection: &mut SqliteConnection, wait: &Wait) -> sqlx::Result<Changed> {
    let updated = sqlx::query(
        "UPDATE payments SET attempts = attempts + 1, next_attempt_at = ?,
         trouble = coalesce(nullif(?, ''), trouble) WHERE id = ? AND state = ?",
    )
    .bind(wait.next_attempt_at)
    .bind(&wait.trouble)
    .bind(&wait.payment)
    .bind(wait.state.word())
    .execute(connection)
    .await?;
    Ok(if updated.rows_affected() == 0 {
        Changed::Overtaken
    } else {
        Changed::Stored
    })
}

async fn delivered(connection: &mut SqliteConnection, sequences: &[i64]) -> sqlx::Result<Changed> {
    let now = clock::now_millis();
    for sequence in sequences {
        sqlx::query("UPDATE outbox SET delivered_at = ? WHERE sequence = ?")
            .bind(now)
            .bind(sequence)
            .execute(&mut *connection)
            .await?;
    }
    Ok(Changed::Stored)
}

fn letter_from_row(row: &SqliteRow) -> sqlx::Result<Letter> {
    Ok(Letter {
        sequence: row.try_get("sequence")?,
        event_id: row.try_get("event_id")?,
        body: row.try_get("body")?,
        refusals: row.try_get("refusals")?,
        failures: row.try_get("failures")?,
    })
}

fn from_row(row: &SqliteRow) -> sqlx::Result<Payment> {
    Ok(Payment {
        id: row.try_get("id")?,
        key: row.try_get("key")?,
        from: row.try_get("from_account")?,
        to: row.try_get("to_account")?,
        from_customer: row.try_get("from_customer")?,
        to_customer: row.try_get("to_customer")?,
        amount_cents: row.try_get("amount_cents")?,
        currency: row.try_get("currency")?,
        reference: row.try_get("reference")?,
        state: State::parse(row.try_get("state")?)?,
        engine: row.try_get("engine")?,
        decision: row.try_get("decision")?,
        score: row.try_get("score")?,
        reason: row.try_get("reason")?,
        created_at: row.try_get("created_at")?,
        attempts: row.try_get("attempts")?,
    })
}
