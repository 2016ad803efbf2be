//! Drill `crash`: every process of the bank is killed once under load, service by service and sidecar by
//! sidecar; what was acknowledged is not lost, and no money is made or destroyed.
//!
//! Payments may fail here, and say so: an account that dies with a debit in its hands can't answer. The
//! promise is about those that were answered with success.

use std::time::Duration;

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    accounting::books_agree,
    load::{end_payments, open_and_pay, pay},
    story::Story,
};
use crate::{bank::Bank, process_table::ProcessTable};

const VICTIMS: [&str; 8] = [
    "account-1",
    "account-2",
    "transaction-1",
    "fraud-detection-1",
    "fraud-rules-1",
    "customer-profile-1",
    "notification-1",
    "reporting-1",
];
/// Within this, `usher run` notices that one of its two processes is gone, and ends the other.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open_and_pay(story).await?;
    for name in VICTIMS {
        for part in ["service", "sidecar"] {
            story.say(format!("SIGKILL for the {part} of {name}"));
            kill_part(story, name, part).await?;
            let noticed = async |bank: &mut Bank| Ok(bank.instance(name)?.death().is_some());
            story
                .until("usher run ends with its process", NOTICED_WITHIN, noticed)
                .await?;
            story.bank.instance(name)?.start()?;
            let voice = story.voice();
            story.bank.ready(&[name], &voice).await?;
            pay(story, 20).await?;
        }
    }
    story.say("SIGKILL for the control plane");
    story.bank.control_plane.kill().await?;
    let voice = story.voice();
    story.bank.open_control_plane(&voice).await?;
    pay(story, 20).await?;

    let stats = end_payments(story).await?;
    story.saw("ok", stats.ok);
    story.saw("failed", stats.failed);
    story.require(
        stats.ok > stats.failed,
        format!("most payments were made, but {}", stats.failed_text()),
    );
    books_agree(story, &stats).await
}

async fn kill_part(story: &mut Story, name: &str, part: &str) -> anyhow::Result<()> {
    let pids = story.bank.instance(name)?.pids(&ProcessTable::read());
    let pids = pids.with_context(|| format!("{name} does not run"))?;
    let pid: Option<Pid> = if part == "service" {
        pids.application
    } else {
        pids.sidecar
    };
    let pid = pid.with_context(|| format!("{name} has no {part}"))?;
    kill(pid, Signal::SIGKILL).with_context(|| format!("cannot kill {pid}"))
}
