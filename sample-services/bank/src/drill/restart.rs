//! Drill `restart`: both accounts are restarted, one after the other, while payments are made.
//!
//! A sidecar that is told to end first leaves the balance of all its callers, then finishes what it has
//! begun: no payment fails, although no caller of account ever repeats a debit that was sent.

use super::{
    accounting::books_agree,
    load::{end_payments, open_and_pay, pay},
    story::Story,
};
use crate::process::Stopped;

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open_and_pay(story).await?;
    let before = story.bank.teller_stats();
    for name in ["account-1", "account-2"] {
        story.say(format!("{name} is asked to end, and started again"));
        let stopped = story.bank.stop(name).await?;
        let in_order = matches!(stopped, Some(Stopped::Asked(status)) if status.success());
        story.require(
            in_order,
            format!("{name} ends by itself with success, but {stopped:?}"),
        );
        pay(story, 40).await?;
        story.bank.instance(name)?.start()?;
        let voice = story.voice();
        story.bank.ready(&[name], &voice).await?;
        pay(story, 80).await?;
    }
    let stats = end_payments(story).await?;
    let since = stats.since(&before);
    story.saw("paidMeanwhile", since.ok);
    story.saw("failed", since.failed);
    story.require(
        since.failed == 0,
        format!("no payment failed, but {}", since.failed_text()),
    );
    books_agree(story, &stats).await
}
