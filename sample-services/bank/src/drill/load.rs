//! What most drills begin and end with: an open bank, payments, and the teller's count of them.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::story::Story;
use crate::{
    auditor::Caller,
    bank::Bank,
    mesh_view::{Breaker, TellerStats},
    programs::Program,
    roster::{auditor, services, teller},
};

/// Payments per second in most drills: steady work for two small cores that also run twenty processes.
pub(super) const RATE: u32 = 40;
/// How long a change may take to be seen at the other end of the bank.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the bank without load, with an auditor.
///
/// # Errors
/// When something does not become ready.
pub(super) async fn open(story: &mut Story) -> anyhow::Result<()> {
    story.say("opening the bank");
    let voice = story.voice();
    story.bank.open_control_plane(&voice).await?;
    for workload in services() {
        story.bank.employ(&workload)?;
    }
    story.bank.employ(&auditor())?;
    story.bank.all_ready(&voice).await
}

/// Opens the bank and lets the teller pay until the fraud model has decided on `RATE` payments.
///
/// # Errors
/// When something does not become ready, or payments don't come through.
pub(super) async fn open_and_pay(story: &mut Story) -> anyhow::Result<()> {
    open(story).await?;
    story.say(format!("{RATE} payments per second from now on"));
    story.bank.employ(&teller(RATE))?;
    let enough = u64::from(RATE);
    let by_model = async |bank: &mut Bank| {
        teller_is_well(bank)?;
        Ok(bank.teller_stats().engine(Program::FraudDetection.name()) >= enough)
    };
    story
        .until("the first payments", PATIENCE, by_model)
        .await?;
    Ok(())
}

/// Waits until `count` more payments were answered.
///
/// # Errors
/// When they aren't in time.
pub(super) async fn pay(story: &mut Story, count: u64) -> anyhow::Result<()> {
    let before = story.bank.teller_stats().answered();
    let answered = async |bank: &mut Bank| {
        teller_is_well(bank)?;
        Ok(bank.teller_stats().answered() >= before + count)
    };
    story.until("more payments", PATIENCE, answered).await?;
    Ok(())
}

/// Waits until `engine` decided on `count` more payments.
///
/// # Errors
/// When it didn't in time.
pub(super) async fn pay_by(story: &mut Story, engine: Program, count: u64) -> anyhow::Result<()> {
    let before = story.bank.teller_stats().engine(engine.name());
    let decided = async |bank: &mut Bank| {
        teller_is_well(bank)?;
        Ok(bank.teller_stats().engine(engine.name()) >= before + count)
    };
    let what = format!("{count} payments decided by {}", engine.name());
    story.until(&what, PATIENCE, decided).await?;
    Ok(())
}

/// Lets the teller finish what it has begun; what it counted.
///
/// # Errors
/// When the teller can't be stopped.
pub(super) async fn end_payments(story: &mut Story) -> anyhow::Result<TellerStats> {
    story.say("no more payments");
    story.bank.stop("teller-1").await?;
    Ok(story.bank.teller_stats())
}

/// A caller through the auditor's sidecar.
///
/// # Errors
/// When the auditor doesn't run.
pub(super) fn auditing(bank: &mut Bank) -> anyhow::Result<Caller> {
    Ok(Caller::through(
        bank.instance("auditor-1")?.addresses()?.outbound,
    ))
}

/// The breaker that transaction's sidecar holds for fraud-detection.
///
/// # Errors
/// When the sidecar does not answer or has no such breaker.
pub(super) async fn fraud_breaker(bank: &mut Bank) -> anyhow::Result<Breaker> {
    let breakers = bank.instance("transaction-1")?.breakers().await?;
    let of_fraud = |breaker: &Breaker| breaker.service.contains(Program::FraudDetection.name());
    let found = breakers.iter().find(|breaker| of_fraud(breaker)).cloned();
    found.with_context(|| format!("no breaker for fraud-detection among {breakers:?}"))
}

/// Waits until that breaker is in `state`, and tells how long it took.
///
/// # Errors
/// When it isn't in time.
pub(super) async fn fraud_breaker_is(story: &mut Story, state: &str) -> anyhow::Result<Duration> {
    let is =
        async |bank: &mut Bank| Ok(fraud_breaker(bank).await?.state.eq_ignore_ascii_case(state));
    story
        .until(
            &format!("the breaker for fraud-detection is {state}"),
            PATIENCE,
            is,
        )
        .await
}

/// A teller that ended can't pay: better to say so at once than to wait for its payments.
fn teller_is_well(bank: &mut Bank) -> anyhow::Result<()> {
    let Some(death) = bank.instance("teller-1")?.death() else {
        return Ok(());
    };
    bail!(crate::bank::explain(&death))
}
