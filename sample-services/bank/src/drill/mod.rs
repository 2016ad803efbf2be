//! Drills: stories in which something breaks, played with real processes and judged by what they promise.
//!
//! Each drill opens a bank of its own in a temporary directory, so that none depends on another. A drill
//! holds only if every `require` in it did, its books add up, and no process ended that was not to end.

mod accounting;
mod control_plane_down;
mod crash;
mod fraud_down;
mod fraud_slow;
mod load;
mod notification_down;
mod payment;
mod restart;
mod retry_safety;
mod story;
mod strangers;

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
    time::Instant,
};

use clap::ValueEnum;

pub(crate) use self::story::{Report, Reports, Story};
use crate::{arguments::DrillArguments, bank::Bank, layout::Layout, output, signals::Interrupted};

/// The stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Every drill below, one after the other.
    All,
    /// 1,000 payments; afterwards the books add up to the cent.
    Payment,
    /// The fraud model is killed: payments go on by rules, and return to the model by themselves.
    FraudDown,
    /// The fraud model becomes slow: the breaker opens by slow calls, payments stay quick.
    FraudSlow,
    /// Services that fail after doing the work are never asked twice for what is not repeatable.
    RetrySafety,
    /// Notification is killed: no payment fails, and its events arrive afterwards, once.
    NotificationDown,
    /// The control plane is killed: traffic continues, and a change arrives when it is back.
    ControlPlaneDown,
    /// Callers without the right identity are refused, and each attempt is seen: where, by which counter.
    Strangers,
    /// Rolling restart of the two accounts under load: no payment fails.
    Restart,
    /// Every process is killed once under load: no acknowledged payment is lost.
    Crash,
}

impl Name {
    const EACH: [Self; 9] = [
        Self::Payment,
        Self::FraudDown,
        Self::FraudSlow,
        Self::RetrySafety,
        Self::NotificationDown,
        Self::ControlPlaneDown,
        Self::Strangers,
        Self::Restart,
        Self::Crash,
    ];

    fn text(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    async fn play(self, story: &mut Story) -> anyhow::Result<()> {
        match self {
            Self::All => Ok(()),
            Self::Payment => payment::play(story).await,
            Self::FraudDown => fraud_down::play(story).await,
            Self::FraudSlow => fraud_slow::play(story).await,
            Self::RetrySafety => retry_safety::play(story).await,
            Self::NotificationDown => notification_down::play(story).await,
            Self::ControlPlaneDown => control_plane_down::play(story).await,
            Self::Strangers => strangers::play(story).await,
            Self::Restart => restart::play(story).await,
            Self::Crash => crash::play(story).await,
        }
    }
}

/// Plays the drills asked for, in order; success only if all held.
///
/// # Errors
/// When a directory can't be made: nothing was drilled then.
pub(crate) async fn drill(
    arguments: &DrillArguments,
    interrupted: &mut Interrupted,
) -> anyhow::Result<ExitCode> {
    let names = if arguments.names.contains(&Name::All) {
        Name::EACH.to_vec()
    } else {
        arguments.names.clone()
    };
    let begun = Instant::now();
    let (mut reports, asked) = (Vec::new(), names.len());
    for name in names {
        let report = one(name, arguments, interrupted).await?;
        if !arguments.json {
            output::line(&report.for_people());
        }
        reports.push(report);
        if interrupted.is_set() {
            break;
        }
    }
    let reports = Reports::of(reports, asked, begun.elapsed());
    if arguments.json {
        let mut out = stdout().lock();
        // Whoever asked for a document and doesn't get it must not believe that all is well.
        serde_json::to_writer(&mut out, &reports)?;
        writeln!(out)?;
    } else if asked > 1 {
        output::line(&reports.for_people());
    }
    Ok(if reports.held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn one(
    name: Name,
    arguments: &DrillArguments,
    interrupted: &mut Interrupted,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let bank = Bank::new(Layout::create(None)?)?;
    interrupted.dooms(&bank.layout);
    let mut story = Story::new(name.text(), bank, arguments.json);
    let played = tokio::select! {
        played = name.play(&mut story) => played,
        () = interrupted.wait() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = played {
        story.fail(format!("{error:#}"));
    }
    story.nobody_died();
    let report = story.finish(begun, arguments.keep).await;
    Ok(report)
}
