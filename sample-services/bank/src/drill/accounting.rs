//! The checker: once nothing is under way, the books of all services agree, to the cent.

use anyhow::Context as _;

use super::{
    load::{PATIENCE, auditing},
    story::Story,
};
use crate::{auditor::patiently, bank::Bank, mesh_view::TellerStats};

/// Waits until every payment is decided and every event delivered, then compares the books.
///
/// # Errors
/// When a service can't be asked, or something stays under way.
pub(super) async fn books_agree(story: &mut Story, teller: &TellerStats) -> anyhow::Result<()> {
    let settled = async |bank: &mut Bank| {
        let caller = auditing(bank)?;
        let payments = patiently(PATIENCE, async || caller.payments().await).await?;
        let outbox = payments.outbox;
        Ok(payments.pending == 0
            && outbox.notification.waiting == 0
            && outbox.reporting.waiting == 0)
    };
    story
        .until(
            "every payment is decided and every event delivered",
            PATIENCE,
            settled,
        )
        .await?;
    money_is_conserved(story).await?;
    every_payment_is_known(story, teller).await
}

/// Money is neither made nor lost: what customers have is what they brought.
async fn money_is_conserved(story: &mut Story) -> anyhow::Result<()> {
    let caller = auditing(&mut story.bank)?;
    let totals = patiently(PATIENCE, async || caller.totals().await)
        .await
        .context("account's totals")?;
    story.require(!totals.is_empty(), "there are accounts");
    for total in totals {
        let currency = &total.currency;
        story.saw(&format!("deposits{currency}"), total.opening_deposits_cents);
        story.saw(&format!("balances{currency}"), total.balance_cents);
        story.require(
            total.balance_cents == total.opening_deposits_cents,
            "balances sum up to the opening deposits",
        );
        story.require(
            total.debits_cents == total.credits_cents,
            "every debit has its credit",
        );
        story.require(
            total.ledger_cents == 0,
            "all entries, the house's included, add up to nothing",
        );
        story.require(
            total.unbalanced_accounts == 0,
            "every balance is the sum of its entries",
        );
    }
    Ok(())
}

/// What the teller was told is what transaction stored and what the consumers heard, each event once.
async fn every_payment_is_known(story: &mut Story, teller: &TellerStats) -> anyhow::Result<()> {
    let caller = auditing(&mut story.bank)?;
    let payments = patiently(PATIENCE, async || caller.payments().await).await?;
    let promised = teller.ok + teller.pending;
    story.saw("paid", payments.completed);
    story.require(
        payments.completed >= teller.ok,
        "every acknowledged payment is stored",
    );
    if teller.failed == 0 {
        let kept = payments.completed + payments.refunded;
        story.require(
            kept >= promised,
            "every accepted payment was carried out or refunded",
        );
        story.require(
            payments.completed <= promised,
            "no payment was made that nobody was told of",
        );
        story.require(
            payments.declined + payments.refunded >= teller.declined,
            "every refusal is stored",
        );
    }
    for (consumer, outbox) in [
        ("notification", payments.outbox.notification),
        ("reporting", payments.outbox.reporting),
    ] {
        let stats = patiently(PATIENCE, async || caller.consumer(consumer).await).await?;
        story.saw(&format!("{consumer}Events"), stats.events);
        story.require(
            stats.events == outbox.delivered,
            format!(
                "{consumer} took each event once: {} of {}",
                stats.events, outbox.delivered
            ),
        );
    }
    Ok(())
}
