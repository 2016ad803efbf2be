//! Drill `fraud-slow`: the fraud model answers every call correctly, and too late.
//!
//! No call fails, so only the slow-call rate can open the breaker. Payments are quick again as soon as it
//! is open, and return to the model when the model is quick.

use super::{
    accounting::books_agree,
    load::{end_payments, fraud_breaker, fraud_breaker_is, open_and_pay, pay_by},
    story::{Story, seconds},
};
use crate::programs::Program;

/// Above `slowCallDuration` and below `timeouts.backendRequest` in `mesh/traffic.yaml`: slow, never failed.
const SLOW: &str = "600ms";
const QUICK: &str = "2ms";

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open_and_pay(story).await?;
    let before = story.bank.teller_stats();
    let generation = fraud_breaker(&mut story.bank).await?.generation;
    story.say(format!("fraud-detection now takes {SLOW} for each payment"));
    restart_with(story, SLOW).await?;
    let opened = fraud_breaker_is(story, "Open").await?;
    story.saw("openAfterSeconds", seconds(opened));
    let slow = story.bank.teller_stats().since(&before);
    story.require(
        slow.failed == 0,
        format!("no payment failed, but {}", slow.failed_text()),
    );
    pay_by(story, Program::FraudRules, 200).await?;

    story.say(format!("fraud-detection now takes {QUICK} again"));
    restart_with(story, QUICK).await?;
    let closed = fraud_breaker_is(story, "Closed").await?;
    story.saw("closedAfterSeconds", seconds(closed));
    let after = fraud_breaker(&mut story.bank).await?.generation;
    story.require(after > generation, "the breaker went through its states");
    pay_by(story, Program::FraudDetection, 40).await?;

    let stats = end_payments(story).await?;
    let since = stats.since(&before);
    story.saw("failed", since.failed);
    story.saw("byRules", since.engine(Program::FraudRules.name()));
    story.require(
        since.failed == 0,
        format!("no payment failed, but {}", since.failed_text()),
    );
    books_agree(story, &stats).await
}

async fn restart_with(story: &mut Story, delay: &str) -> anyhow::Result<()> {
    story.bank.stop("fraud-detection-1").await?;
    let fraud = story.bank.instance("fraud-detection-1")?;
    fraud.configure("SCORING_DELAY", delay);
    fraud.start()?;
    let voice = story.voice();
    story.bank.ready(&["fraud-detection-1"], &voice).await
}
