//! Drill `payment`: 1,000 payments through the whole mesh; afterwards the books agree to the cent.

use std::time::Duration;

use anyhow::bail;

use super::{accounting::books_agree, load::open, story::Story};
use crate::{
    bank::{Bank, explain},
    roster::teller,
};

const PAYMENTS: u64 = 1_000;
/// As fast as two small cores carry twenty processes; the teller skips what would pile up.
const RATE: u32 = 100;
/// A machine ten times slower than needed is still waited for.
const WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open(story).await?;
    story.say(format!("{PAYMENTS} payments"));
    story
        .bank
        .employ(&teller(RATE).with("TELLER_COUNT", PAYMENTS.to_string()))?;
    let done = async |bank: &mut Bank| match bank.instance("teller-1")?.death() {
        Some(death) if !death.was_success => bail!(explain(&death)),
        Some(_) => Ok(true),
        None => Ok(false),
    };
    story
        .until("all payments are answered", WITHIN, done)
        .await?;
    let stats = story.bank.teller_stats();
    story.saw("ok", stats.ok);
    story.saw("declined", stats.declined);
    story.saw("failed", stats.failed);
    story.saw("p50Ms", stats.p50_us / 1000);
    story.saw("p99Ms", stats.p99_us / 1000);
    story.require(
        stats.answered() >= PAYMENTS,
        format!("{PAYMENTS} payments were answered"),
    );
    story.require(
        stats.failed == 0,
        format!("no payment failed, but {}", stats.failed_text()),
    );
    story.require(stats.ok * 2 > stats.answered(), "most payments were made");
    books_agree(story, &stats).await
}
