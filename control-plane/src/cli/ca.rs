//! `usher ca`: the roots that the mesh trusts, and one in another's place.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use usher_config::value::parse_duration;

use super::{
    Failure, Outcome, block_on, exit,
    locate::DataDirectory,
    operator::{answered, command, exchange, read, refused, written},
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint, table},
};
use crate::{
    admin::operator::authority::{Retire as Wanted, Rotate as Forced},
    ca::{
        roots::{Phase, short},
        steward::{CaReport, ControlPlaneReport, RootReport, Rotated},
    },
};

/// How often a rotation looks whether it can go on.
const LOOK: Duration = Duration::from_secs(1);

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// See and change the roots that sign the mesh's identities
///
/// Sidecars have certificates of 24 hours, signed by their control plane with an intermediate of 7 days, signed by a root of
/// 10 years. A root's key is in ca/ of the data directory of the control plane that made it: back it up. Another root takes
/// its place without a refused request: it is made known to everybody, then signs, and the old one goes when nobody shows
/// anything that it signed any more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher ca status
  usher ca rotate                 # a new root, until all sidecars have certificates under it
  usher ca retire 3f9c            # a day later: the old one is no longer trusted

A root made elsewhere, or kept offline: usher serve --ca-certificate FILE --ca-key FILE signs with an intermediate that
somebody else keeps fresh; files of another root are made known by themselves, and sign after usher ca rotate.")]
pub(super) struct Ca {
    #[command(subcommand)]
    verb: CaVerb,
}

#[derive(Debug, Subcommand)]
enum CaVerb {
    Status(Status),
    Rotate(Rotate),
    Retire(Retire),
}

/// Show roots, their phases, who signs under which, and how many sidecars are where
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher ca status
  usher ca status --json | jq '.roots[] | {sha256, phase, percent}'

Exit codes: 0 shown, 64 usage, 69 no control plane answers.")]
struct Status {
    #[command(flatten)]
    data: DataDirectory,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Put a new root in the place of the one that signs
///
/// Makes it, waits until every connected sidecar and control plane knows it, lets it sign, and waits until every connected
/// sidecar has a certificate under it. Can be stopped at any moment, and goes on when it is called again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher ca rotate
  usher ca rotate --timeout 1h
  usher ca status                 # afterwards; then, a day later: usher ca retire ROOT

Exit codes: 0 the new root signs, 64 usage, 69 no control plane answers, 70 refused, or not all have followed in time.")]
struct Rotate {
    /// Do not wait for control planes that are not heard of, nor for the key of the root before it
    #[arg(long)]
    force: bool,
    /// How long to wait for sidecars, such as 10m or 1h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    data: DataDirectory,
    /// Print the status afterwards as one JSON document
    #[arg(long)]
    json: bool,
}

/// Trust a root no longer
///
/// Refused while the root signs, while a connected sidecar has a certificate under it, and until every certificate under it has
/// ended, a day after it stopped signing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher ca retire 3f9c
  usher ca retire 3f9c --force          # now: a sidecar that is not connected may have to join again
  usher ca retire 3f9c --compromised    # its key was stolen: whoever shows it is cut off

Exit codes: 0 gone, 64 usage, 69 no control plane answers, 70 refused: in use, or no such root.")]
struct Retire {
    /// The first characters of the root's SHA-256
    #[arg(value_name = "ROOT")]
    root: String,
    /// Also if sidecars that are not connected now may still need it; never one that is connected
    #[arg(long)]
    force: bool,
    /// The root's key is in wrong hands: at once, and whoever shows a certificate under it is cut off and has to join again
    #[arg(long)]
    compromised: bool,
    #[command(flatten)]
    data: DataDirectory,
    /// Print the status afterwards as one JSON document
    #[arg(long)]
    json: bool,
}

impl Ca {
    pub(super) fn execute(self) -> Outcome {
        match self.verb {
            CaVerb::Status(Status { data, json }) => shown(&block_on(read(&data, "/v1/ca"))?, json),
            CaVerb::Rotate(rotate) => {
                let report = block_on(rotate.follow())?;
                shown(&report, rotate.json)
            }
            CaVerb::Retire(retire) => {
                let wanted = Wanted {
                    root: retire.root,
                    force: retire.force,
                    compromised: retire.compromised,
                };
                let report = block_on(command(&retire.data, "/v1/ca/retire", &wanted))?;
                shown(&report, retire.json)
            }
        }
    }
}

impl Rotate {
    async fn follow(&self) -> Result<CaReport, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut progress = Progress::default();
        let wanted = written(&Forced { force: self.force })?;
        let rotated = loop {
            let answer = exchange(
                &self.data,
                (Method::POST, "/v1/ca/rotate"),
                wanted.clone(),
                LIMIT,
            )
            .await?;
            match answer {
                Ok(body) => {
                    let rotated: Rotated = answered(body)?;
                    told(&rotated);
                    if rotated.phase == Phase::Active {
                        break rotated;
                    }
                }
                // Somebody does not know it yet.
                Err((StatusCode::CONFLICT, message)) if Instant::now() < deadline => {
                    let report: CaReport = read(&self.data, "/v1/ca").await?;
                    if report.roots.iter().all(|root| root.phase != Phase::Adding) {
                        return Err(Failure::new(exit::FAILED, message));
                    }
                    let who = match report.behind {
                        1 => "1 sidecar or control plane does".to_owned(),
                        behind => format!("{behind} sidecars and control planes do"),
                    };
                    progress.say(&format!("{who} not know the new root yet"));
                    tokio::time::sleep(LOOK).await;
                }
                Err(refusal) => return Err(refused(refusal)),
            }
        };
        loop {
            let report: CaReport = read(&self.data, "/v1/ca").await?;
            let mut under = report.roots.iter();
            let under = under.find(|root| root.sha256 == rotated.sha256);
            let under = under.map_or(0, |root| root.sidecars);
            if under >= report.sidecars {
                progress.end();
                return Ok(report);
            }
            let line = format!(
                "{under} of {} sidecars have a certificate under it",
                report.sidecars
            );
            if Instant::now() >= deadline {
                progress.end();
                return Err(Failure::new(exit::FAILED, format!("{line}, the others not in time")).advise(
                    "the new root signs; the others follow when they can: usher ca status, and their logs",
                ));
            }
            progress.say(&line);
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// One line that is written over on a terminal, and otherwise a line for each change.
#[derive(Default)]
struct Progress {
    last: String,
}

impl Progress {
    fn say(&mut self, line: &str) {
        if line == self.last {
            return;
        }
        if std::io::stderr().is_terminal() {
            anstream::eprint!("\r\x1b[2K{line}");
        } else {
            anstream::eprintln!("{line}");
        }
        line.clone_into(&mut self.last);
    }

    fn end(&self) {
        if !self.last.is_empty() && std::io::stderr().is_terminal() {
            anstream::eprint!("\r\x1b[2K");
        }
    }
}

fn told(rotated: &Rotated) {
    let name = short(&rotated.sha256);
    match rotated.phase {
        Phase::Active => anstream::eprintln!("{}", paint(GOOD, format!("root {name} signs now"))),
        Phase::Adding | Phase::Retiring => {
            anstream::eprintln!(
                "root {name} made; its key is in ca/root-{name}.key of the data directory: back it up"
            );
            if !rotated.crossed {
                anstream::eprintln!(
                    "{}: the key of the root before it is not here, so join tokens made up to now end with that root, and a \
                     sidecar that is cut off until then has to join again",
                    paint(WARN, "warning")
                );
            }
        }
    }
}

fn shown(report: &CaReport, json: bool) -> Outcome {
    if json {
        return super::print_json(report);
    }
    anstream::println!("{}", page(report));
    Ok(exit::OK)
}

fn page(report: &CaReport) -> String {
    let mut lines = vec![format!(
        "{} of {}, version {}",
        paint(HEAD, "roots"),
        report.trust_domain,
        report.version
    )];
    let rows: Vec<Vec<String>> = report.roots.iter().map(root_row).collect();
    lines.push(table(
        &["ROOT", "PHASE", "SINCE", "ENDS", "SIDECARS", "KEY AT"],
        &rows,
    ));
    for root in &report.roots {
        if let Some(over_at) = root.over_at {
            let line = format!(
                "{}: nothing under it holds after {}; then: usher ca retire {}",
                short(&root.sha256),
                when(over_at),
                short(&root.sha256)
            );
            lines.push(paint(DIM, line));
        }
    }
    lines.push(String::new());
    lines.push(paint(
        HEAD,
        "control planes, and the root that each signs under",
    ));
    let rows: Vec<Vec<String>> = report
        .control_planes
        .iter()
        .map(control_plane_row)
        .collect();
    lines.push(table(
        &["ID", "HOST", "UNDER", "INTERMEDIATE ENDS", "SIDECARS", ""],
        &rows,
    ));
    if report.behind > 0 {
        lines.push(format!(
            "{} do not know the newest roots yet",
            report.behind
        ));
    }
    let warning = |text: &String| format!("{}: {text}", paint(BAD, "warning"));
    lines.extend(report.warnings.iter().map(warning));
    lines.join("\n")
}

fn root_row(root: &RootReport) -> Vec<String> {
    let held = if root.key_at.is_empty() {
        "-".to_owned()
    } else {
        root.key_at.join(", ")
    };
    vec![
        short(&root.sha256),
        root.phase.name().to_owned(),
        when(root.since),
        root.not_after.date().to_string(),
        format!("{} ({} %)", root.sidecars, root.percent),
        held,
    ]
}

fn control_plane_row(one: &ControlPlaneReport) -> Vec<String> {
    let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut notes = Vec::new();
    if one.this {
        notes.push("this one");
    }
    if !one.lives {
        notes.push("not heard of");
    }
    if one.given {
        notes.push("from files");
    }
    if one.waits {
        notes.push("waits for an intermediate");
    }
    vec![
        short(&one.id),
        one.name.clone(),
        or(one.root.as_deref().map(short)),
        or(one.not_after.map(when)),
        one.sidecars.to_string(),
        notes.join(", "),
    ]
}

fn when(time: OffsetDateTime) -> String {
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}
