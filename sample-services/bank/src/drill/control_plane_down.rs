//! Drill `control-plane-down`: the control plane is killed; traffic continues, changes arrive afterwards.

use anyhow::ensure;

use super::{
    accounting::books_agree,
    load::{end_payments, fraud_breaker, open_and_pay, pay, pay_by},
    story::Story,
};
use crate::programs::Program;

const FILE: &str = "traffic.yaml";
/// The change: whoever reads the policy keeps the breaker open, so the rules decide on every payment.
const QUICK_EDIT: (&str, &str) = ("  breaker:\n", "  breaker:\n    forced: Open\n");

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open_and_pay(story).await?;
    let before = story.bank.teller_stats();
    story.say("SIGKILL for the control plane");
    story.bank.control_plane.kill().await?;
    pay(story, 150).await?;

    story.say("a policy is changed while nobody reads it: the fraud breaker is to stay open");
    let original = story.bank.layout.configured(FILE)?;
    let edited = original.replacen(QUICK_EDIT.0, QUICK_EDIT.1, 1);
    ensure!(edited != original, "{FILE} has no breaker to change");
    story.bank.layout.configure(FILE, &edited)?;
    pay(story, 100).await?;
    let down = story.bank.teller_stats().since(&before);
    story.saw("paidWithout", down.ok);
    story.require(
        down.failed == 0,
        format!("no payment failed, but {}", down.failed_text()),
    );
    let forced = fraud_breaker(&mut story.bank).await?.forced;
    story.require(
        forced == "No",
        format!(
            "nothing changes while the control plane is down, but the breaker is forced {forced}"
        ),
    );

    story.say("the control plane is started again");
    let voice = story.voice();
    story.bank.open_control_plane(&voice).await?;
    pay_by(story, Program::FraudRules, 40).await?;
    let forced = fraud_breaker(&mut story.bank).await?.forced;
    story.saw("breakerForced", forced.clone());
    story.require(
        forced == "Open",
        "the change arrives when the control plane is back",
    );
    story.say("the change is taken back");
    story.bank.layout.configure(FILE, &original)?;
    pay_by(story, Program::FraudDetection, 40).await?;

    let stats = end_payments(story).await?;
    let since = stats.since(&before);
    story.saw("failed", since.failed);
    story.require(
        since.failed == 0,
        format!("no payment failed, but {}", since.failed_text()),
    );
    books_agree(story, &stats).await
}
