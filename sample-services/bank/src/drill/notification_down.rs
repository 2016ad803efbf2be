//! Drill `notification-down`: nobody needs notification to pay; what it missed arrives afterwards, once.

use super::{
    accounting::books_agree,
    load::{PATIENCE, auditing, end_payments, open_and_pay, pay},
    story::{Story, seconds},
};
use crate::bank::Bank;

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open_and_pay(story).await?;
    let before = story.bank.teller_stats();
    story.say("SIGKILL for notification and its sidecar");
    story.bank.instance("notification-1")?.kill().await?;
    pay(story, 200).await?;
    let stats = end_payments(story).await?;
    let since = stats.since(&before);
    story.saw("paidDuringOutage", since.ok);
    story.saw("failed", since.failed);
    story.require(
        since.failed == 0,
        format!("no payment failed, but {}", since.failed_text()),
    );
    let waiting = auditing(&mut story.bank)?
        .payments()
        .await?
        .outbox
        .notification
        .waiting;
    story.saw("eventsWaiting", waiting);
    story.require(waiting >= 100, "events of the outage wait for notification");

    story.say("notification is started again");
    story.bank.instance("notification-1")?.start()?;
    let voice = story.voice();
    story.bank.ready(&["notification-1"], &voice).await?;
    let caught_up = async |bank: &mut Bank| {
        Ok(auditing(bank)?
            .payments()
            .await?
            .outbox
            .notification
            .waiting
            == 0)
    };
    let after = story
        .until("notification has caught up", PATIENCE, caught_up)
        .await?;
    story.saw("caughtUpAfterSeconds", seconds(after));
    books_agree(story, &stats).await?;
    let notification = auditing(&mut story.bank)?.consumer("notification").await?;
    let reporting = auditing(&mut story.bank)?.consumer("reporting").await?;
    story.saw("broughtAgain", notification.duplicates);
    story.require(
        notification.events == reporting.events,
        "notification, which was down, and reporting, which was not, took the same events",
    );
    Ok(())
}
