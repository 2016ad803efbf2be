//! Drill `fraud-down`: the fraud model is killed with its sidecar, as a machine that loses its power.
//!
//! The breaker in transaction's sidecar opens, payments go on by the rules, and when the model is back the
//! breaker closes by itself. No service knows of any of it.

use super::{
    accounting::books_agree,
    load::{end_payments, fraud_breaker_is, open_and_pay, pay_by},
    story::{Story, seconds},
};
use crate::programs::Program;

/// What the promise allows to fail from the kill to the end.
const FAILED_MAX: u64 = 20;

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open_and_pay(story).await?;
    let before = story.bank.teller_stats();
    story.say("SIGKILL for fraud-detection and its sidecar");
    story.bank.instance("fraud-detection-1")?.kill().await?;
    let opened = fraud_breaker_is(story, "Open").await?;
    story.saw("openAfterSeconds", seconds(opened));
    pay_by(story, Program::FraudRules, 200).await?;
    let outage = story.bank.teller_stats().since(&before);
    story.saw("paidDuringOutage", outage.ok);
    story.require(outage.ok >= 100, "payments went on without the model");

    story.say("fraud-detection is started again");
    story.bank.instance("fraud-detection-1")?.start()?;
    let voice = story.voice();
    story.bank.ready(&["fraud-detection-1"], &voice).await?;
    let closed = fraud_breaker_is(story, "Closed").await?;
    story.saw("closedAfterSeconds", seconds(closed));
    pay_by(story, Program::FraudDetection, 40).await?;

    let stats = end_payments(story).await?;
    let since = stats.since(&before);
    story.saw("failed", since.failed);
    story.saw("byRules", since.engine(Program::FraudRules.name()));
    let failed = since.failed_text();
    story.require(
        since.failed <= FAILED_MAX,
        format!("at most {FAILED_MAX} payments failed, but {failed}"),
    );
    books_agree(story, &stats).await
}
