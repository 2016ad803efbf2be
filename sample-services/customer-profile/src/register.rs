//! Registers a customer: once, whatever is repeated.

use bank_chassis::clock;
use bank_chassis::fields::Fields;
use bank_chassis::group_commit::Operation;
use bank_chassis::problem::Problem;
use bank_chassis::rules;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

/// Who a customer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) created_at: i64,
}

impl Customer {
    /// Reads a request; an id is made up if there is none.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::from_body(body)?;
        let id = fields.optional_id("id");
        let name = fields.matching("name", "1 to 140 printable characters", |name| {
            rules::is_text(name) && !name.trim().is_empty()
        });
        let email = fields.matching("email", "an e-mail address", is_email);
        let (Some(id), Some(name), Some(email)) = (id, name, email) else {
            return Err(fields.into_problem());
        };
        fields.finish()?;
        let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        Ok(Self {
            id,
            name,
            email,
            created_at: clock::now_millis(),
        })
    }

    pub(crate) fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            created_at: row.try_get("created_at")?,
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "email": self.email,
            "createdAt": clock::rfc3339(self.created_at),
        })
    }
}

/// Whether mail could be sent there; only sending tells whether it arrives.
fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let spaced = text
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control());
    !name.is_empty()
        && domain.contains('.')
        && !domain.starts_with('.')
        && !spaced
        && text.len() <= 254
}

/// How a registration ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Registered {
    New(Customer),
    Already(Customer),
    /// The named field belongs to another customer.
    Conflict(&'static str),
}

/// Registers one customer.
#[derive(Debug)]
pub(crate) struct Register(pub(crate) Customer);

impl Operation for Register {
    type Outcome = Registered;

    async fn apply(&self, connection: &mut SqliteConnection) -> sqlx::Result<Registered> {
        let Self(wanted) = self;
        let row = sqlx::query(
            "SELECT id, name, email, created_at FROM customers WHERE id = ?1 OR email = ?2
             ORDER BY id = ?1 DESC LIMIT 1",
        )
        .bind(&wanted.id)
        .bind(&wanted.email)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            let found = Customer::from_row(&row)?;
            let same = Customer {
                created_at: found.created_at,
                ..wanted.clone()
            } == found;
            return Ok(match found.id == wanted.id {
                true if same => Registered::Already(found),
                true => Registered::Conflict("id"),
                false => Registered::Conflict("email"),
            });
        }
        sqlx::query("INSERT INTO customers (id, name, email, created_at) VALUES (?, ?, ?, ?)")
            .bind(&wanted.id)
            .bind(&wanted.name)
            .bind(&wanted.email)
            .bind(wanted.created_at)
            .execute(connection)
            .await?;
        Ok(Registered::New(wanted.clone()))
    }
}
