//! The checker's view: sums over the whole ledger, by currency, in one snapshot of the database.

use bank_chassis::proto::account::Total;
use sqlx::{Row, SqlitePool};

/// One statement, so that all sums are of the same moment; reads every entry.
const TOTALS: &str = "
WITH booked AS (
    SELECT e.account_id AS account_id, count(*) AS entries, sum(e.amount_cents) AS cents,
           sum(CASE WHEN o.kind = 'debit' THEN -e.amount_cents ELSE 0 END) AS debits,
           sum(CASE WHEN o.kind = 'credit' THEN e.amount_cents ELSE 0 END) AS credits,
           sum(CASE WHEN o.kind = 'open' THEN e.amount_cents ELSE 0 END) AS deposits
    FROM entries e JOIN operations o ON o.id = e.operation_id GROUP BY e.account_id
)
SELECT a.currency AS currency,
       sum(NOT a.is_house) AS accounts,
       sum(CASE WHEN a.is_house THEN 0 ELSE a.balance_cents END) AS balance_cents,
       sum(CASE WHEN a.is_house THEN a.balance_cents ELSE 0 END) AS house_cents,
       sum(coalesce(b.cents, 0)) AS ledger_cents,
       sum(coalesce(b.entries, 0)) AS entries,
       sum(a.balance_cents <> coalesce(b.cents, 0)) AS unbalanced_accounts,
       sum(CASE WHEN a.is_house THEN 0 ELSE coalesce(b.deposits, 0) END) AS opening_deposits_cents,
       sum(coalesce(b.debits, 0)) AS debits_cents,
       sum(coalesce(b.credits, 0)) AS credits_cents
FROM accounts a LEFT JOIN booked b ON b.account_id = a.id
GROUP BY a.currency ORDER BY a.currency";

pub(crate) async fn read(readers: &SqlitePool) -> sqlx::Result<Vec<Total>> {
    let rows = sqlx::query(TOTALS).fetch_all(readers).await?;
    let totals = rows.iter().map(|row| {
        Ok(Total {
            currency: row.try_get("currency")?,
            accounts: row.try_get("accounts")?,
            balance_cents: row.try_get("balance_cents")?,
            house_cents: row.try_get("house_cents")?,
            ledger_cents: row.try_get("ledger_cents")?,
            entries: row.try_get("entries")?,
            unbalanced_accounts: row.try_get("unbalanced_accounts")?,
            opening_deposits_cents: row.try_get("opening_deposits_cents")?,
            debits_cents: row.try_get("debits_cents")?,
            credits_cents: row.try_get("credits_cents")?,
        })
    });
    totals.collect()
}
