//! The rules of the ledger: what an operation does, and that it does it once.
//!
//! Applied inside the writer's transaction, so each sees all before it. A refusal is stored like a
//! success: a late duplicate of a refused debit must not succeed because funds have arrived since.

use bank_chassis::clock;
use bank_chassis::group_commit;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

/// What is to be done to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Debit,
    Credit,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

/// A valid request to change the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) account_id: String,
    /// Only of [`Kind::Open`], else empty.
    pub(crate) customer_id: String,
    pub(crate) amount_cents: i64,
    pub(crate) currency: String,
    pub(crate) reference: String,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Open: the account belongs to another operation.
    Exists,
    UnknownAccount,
    WrongCurrency,
    InsufficientFunds,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Exists => "exists",
            Self::UnknownAccount => "unknown-account",
            Self::WrongCurrency => "wrong-currency",
            Self::InsufficientFunds => "insufficient-funds",
        }
    }

    fn parse(word: &str) -> sqlx::Result<Self> {
        let all = [
            Self::Done,
            Self::Exists,
            Self::UnknownAccount,
            Self::WrongCurrency,
            Self::InsufficientFunds,
        ];
        all.into_iter()
            .find(|outcome| outcome.word() == word)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown outcome {word:?}").into()))
    }
}

/// What the caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The first result, now or again.
    Result(Record),
    /// The id belongs to an operation with other arguments.
    OtherArguments,
}

/// The stored result of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) outcome: Outcome,
    pub(crate) customer_id: String,
    pub(crate) balance_cents: i64,
    pub(crate) replayed: bool,
}

/// An account as stored.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) customer_id: String,
    pub(crate) currency: String,
    pub(crate) is_house: bool,
    pub(crate) balance_cents: i64,
    pub(crate) entries: i64,
}

impl Account {
    pub(crate) fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            customer_id: row.try_get("customer_id")?,
            currency: row.try_get("currency")?,
            is_house: row.try_get("is_house")?,
            balance_cents: row.try_get("balance_cents")?,
            entries: row.try_get("entries")?,
        })
    }
}

/// Reads one account.
pub(crate) const SELECT_ACCOUNT: &str =
    "SELECT customer_id, currency, is_house, balance_cents, entries FROM accounts WHERE id = ?";

impl group_commit::Operation for Operation {
    type Outcome = Answer;

    async fn apply(&self, connection: &mut SqliteConnection) -> sqlx::Result<Answer> {
        if let Some(answer) = self.earlier_answer(connection).await? {
            return Ok(answer);
        }
        let record = match self.kind {
            Kind::Open => self.open(connection).await?,
            Kind::Debit => self.book(connection, -self.amount_cents).await?,
            Kind::Credit => self.book(connection, self.amount_cents).await?,
        };
        self.remember(connection, &record).await?;
        Ok(Answer::Result(record))
    }
}

impl Operation {
    async fn earlier_answer(
        &self,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<Option<Answer>> {
        let row = sqlx::query(
            "SELECT kind, account_id, customer_id, amount_cents, currency, outcome, balance_cents
             FROM operations WHERE id = ?",
        )
        .bind(&self.id)
        .fetch_optional(connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let customer_id: String = row.try_get("customer_id")?;
        let same = row.try_get::<&str, _>("kind")? == self.kind.word()
            && row.try_get::<&str, _>("account_id")? == self.account_id
            && row.try_get::<i64, _>("amount_cents")? == self.amount_cents
            && row.try_get::<&str, _>("currency")? == self.currency
            && (self.kind != Kind::Open || customer_id == self.customer_id);
        if !same {
            return Ok(Some(Answer::OtherArguments));
        }
        Ok(Some(Answer::Result(Record {
            outcome: Outcome::parse(row.try_get("outcome")?)?,
            customer_id,
            balance_cents: row.try_get("balance_cents")?,
            replayed: true,
        })))
    }

    async fn open(&self, connection: &mut SqliteConnection) -> sqlx::Result<Record> {
        let opened = self.insert_account(connection).await?;
        if !opened {
            return Ok(self.refused(Outcome::Exists, self.customer_id.clone()));
        }
        if self.amount_cents > 0 {
            let house = Self {
                account_id: house_of(connection, &self.currency).await?,
                ..self.clone()
            };
            house.enter(connection, -self.amount_cents).await?;
            self.enter(connection, self.amount_cents).await?;
        }
        Ok(Record {
            outcome: Outcome::Done,
            customer_id: self.customer_id.clone(),
            balance_cents: self.amount_cents,
            replayed: false,
        })
    }

    /// Adds the customer's account; false when there was one of that id already.
    async fn insert_account(&self, connection: &mut SqliteConnection) -> sqlx::Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO accounts (id, customer_id, currency, is_house, balance_cents, opened_at)
             VALUES (?, ?, ?, 0, 0, ?) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&self.account_id)
        .bind(&self.customer_id)
        .bind(&self.currency)
        .bind(clock::now_millis())
        .execute(connection)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Adds `change` to the account, if it may.
    async fn book(&self, connection: &mut SqliteConnection, change: i64) -> sqlx::Result<Record> {
        let row = sqlx::query(SELECT_ACCOUNT)
            .bind(&self.account_id)
            .fetch_optional(&mut *connection)
            .await?;
        let account = row.map(|row| Account::from_row(&row)).transpose()?;
        // The house moves only at openings: the checker relies on it.
        let Some(account) = account.filter(|account| !account.is_house) else {
            return Ok(self.refused(Outcome::UnknownAccount, String::new()));
        };
        if account.currency != self.currency {
            return Ok(self.refused(Outcome::WrongCurrency, account.customer_id));
        }
        let Some(balance_cents) = account
            .balance_cents
            .checked_add(change)
            .filter(|balance| *balance >= 0)
        else {
            let refused = self.refused(Outcome::InsufficientFunds, account.customer_id);
            return Ok(Record {
                balance_cents: account.balance_cents,
                ..refused
            });
        };
        self.enter(connection, change).await?;
        let customer_id = account.customer_id;
        Ok(Record {
            outcome: Outcome::Done,
            customer_id,
            balance_cents,
            replayed: false,
        })
    }

    fn refused(&self, outcome: Outcome, customer_id: String) -> Record {
        Record {
            outcome,
            customer_id,
            balance_cents: 0,
            replayed: false,
        }
    }

    /// The only place that changes a balance: together with its entry.
    async fn enter(&self, connection: &mut SqliteConnection, change: i64) -> sqlx::Result<()> {
        let balance: i64 = sqlx::query_scalar(
            "UPDATE accounts SET balance_cents = balance_cents + ?, entries = entries + 1
             WHERE id = ? RETURNING balance_cents",
        )
        .bind(change)
        .bind(&self.account_id)
        .fetch_one(&mut *connection)
        .await?;
        sqlx::query(
            "INSERT INTO entries (account_id, operation_id, amount_cents, balance_cents, reference,
             booked_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.account_id)
        .bind(&self.id)
        .bind(change)
        .bind(balance)
        .bind(&self.reference)
        .bind(clock::now_millis())
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn remember(
        &self,
        connection: &mut SqliteConnection,
        record: &Record,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO operations (id, kind, account_id, customer_id, amount_cents, currency,
             outcome, balance_cents, answered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.id)
        .bind(self.kind.word())
        .bind(&self.account_id)
        .bind(&record.customer_id)
        .bind(self.amount_cents)
        .bind(&self.currency)
        .bind(record.outcome.word())
        .bind(record.balance_cents)
        .bind(clock::now_millis())
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Ids that no customer may have: older ledgers keep their houses under them.
pub(crate) const HOUSE_PREFIX: &str = "house-";

/// Id of the account that opening deposits in `currency` come from; opened with the first of them.
///
/// The house is known by what it is, never by its name. A new one gets a name that is not an id (it
/// has a slash), so that no customer can have taken it.
async fn house_of(connection: &mut SqliteConnection, currency: &str) -> sqlx::Result<String> {
    let house = sqlx::query_scalar("SELECT id FROM accounts WHERE currency = ? AND is_house")
        .bind(currency)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(house) = house {
        return Ok(house);
    }
    sqlx::query_scalar(
        "INSERT INTO accounts (id, customer_id, currency, is_house, balance_cents, opened_at)
         VALUES ('house/' || ?1, 'house', ?1, 1, 0, ?2) RETURNING id",
    )
    .bind(currency)
    .bind(clock::now_millis())
    .fetch_one(connection)
    .await
}
