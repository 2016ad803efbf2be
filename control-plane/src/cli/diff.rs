//! `usher diff`: what files would change in the living mesh, and in which sidecars; nothing is changed.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;
use serde::Serialize;
use usher_config::{kind::ObjectKey, model::MtlsMode, parse::Parsed, value::ServiceName};

use super::{
    Failure, Outcome, block_on, exit,
    found::{self, Found},
    history::object,
    locate::DataDirectory,
    offline,
    operator::read,
    paint::{BAD, DIM, HEAD, paint},
    validate,
};
use crate::{
    admin::operator::history::InForce,
    compile::{Compiled, compile},
    registry::{World, store::Stored},
    status::{RejectedObject, StatusReport},
    whatif::diff::{Effect, effects},
};

/// Show what files would change: which objects, what sidecars would be told, and which sidecars
///
/// The files are read as the control plane on this machine would read them, against what is in force there: what is broken
/// keeps its last good version. With --against, two configurations are compared and no control plane is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher diff mesh/                          # before it is saved where the control plane looks, or applied
  usher diff mesh/ --against main-branch/   # without a control plane
  usher diff mesh/ --json | jq '.effects[] | select(.proxies != [])'

Exit codes: 0 nothing would change, 1 something would, 64 usage, 69 no control plane answers, 70 a path cannot be read.")]
pub(super) struct Diff {
    /// Files, or directories with *.yaml and *.yml files at any depth: all of the configuration
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Compare with these files instead of what is in force
    #[arg(long, value_name = "PATH")]
    against: Vec<PathBuf>,
    #[command(flatten)]
    data: DataDirectory,
    /// Print {"objects":[…],"effects":[…],"rejected":[…],"conditions":[…]}
    #[arg(long)]
    json: bool,
}

/// All that would change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    objects: Vec<ObjectDifference>,
    effects: Vec<Effect>,
    /// What would not come into force as written.
    rejected: Vec<RejectedObject>,
    /// What would not do all that it says, and does now or is not there.
    conditions: Vec<Found>,
    /// Services that would become Strict, and that somebody calls in plaintext: `namespace/service`.
    locks_out_callers_of: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectDifference {
    object: String,
    before: Option<String>,
    after: Option<String>,
}

impl Diff {
    pub(super) fn execute(self) -> Outcome {
        let parsed = offline::parsed(&self.paths)?;
        let (world, status) = self.before()?;
        let difference = difference(&world, &status, &parsed, self.base());
        let same = difference.objects.is_empty() && difference.rejected.is_empty();
        if self.json {
            super::print_json(&difference)?;
        } else {
            validate::show_errors(&parsed);
            anstream::println!(
                "{}",
                render(&difference, self.against.is_empty()).join("\n")
            );
        }
        Ok(if same { exit::OK } else { exit::MISTAKES })
    }

    fn base(&self) -> &Path {
        match self.paths.as_slice() {
            [one] if one.is_dir() => one,
            _ => Path::new(""),
        }
    }

    /// What there is, who would be told, and who calls in plaintext.
    fn before(&self) -> Result<(World, StatusReport), Failure> {
        if !self.against.is_empty() {
            let parsed = offline::parsed(&self.against)?;
            return Ok((offline::reading(&parsed).world, StatusReport::default()));
        }
        let in_force: InForce = block_on(read(&self.data, "/v1/configuration"))?;
        let status: StatusReport = block_on(read(&self.data, "/v1/status"))?;
        let stored: Stored = in_force.try_into().map_err(|error| {
            Failure::of(exit::FAILED, &error).advise("is the control plane of this version?")
        })?;
        let (world, _) = World::restored(&stored);
        Ok((world, status))
    }
}

fn difference(before: &World, status: &StatusReport, parsed: &Parsed, base: &Path) -> Difference {
    let reading = before.read(parsed, base, SystemTime::now());
    let text = |world: &World, key: &ObjectKey| {
        world.objects.get(key).map(|object| object.text.to_string())
    };
    let one = |key: &ObjectKey| ObjectDifference {
        object: key.to_string(),
        before: text(before, key),
        after: text(&reading.world, key),
    };
    let (old, new) = (compile(before), compile(&reading.world));
    let mut findings = new.findings.clone();
    findings.retain(|finding| found::is_news(finding) && !old.findings.contains(finding));
    Difference {
        objects: reading.changed.iter().map(one).collect(),
        effects: effects(&old, &new, &status.proxies),
        locks_out_callers_of: locks_out(&old, &new, &status.plaintext_callers.services),
        conditions: found::found(parsed, (&reading.world, &new), findings),
        rejected: reading.rejected,
    }
}

/// Those of the services that are called in plaintext which become Strict.
fn locks_out(old: &Compiled, new: &Compiled, called: &[String]) -> Vec<String> {
    let mode = |compiled: &Compiled, name: &ServiceName| {
        let inbound = compiled.inbound.get(name);
        inbound.map(|inbound| inbound.mtls)
    };
    let becomes_strict = |name: &&String| {
        name.parse::<ServiceName>().is_ok_and(|name| {
            mode(old, &name) == Some(MtlsMode::Permissive)
                && mode(new, &name) == Some(MtlsMode::Strict)
        })
    };
    called.iter().filter(becomes_strict).cloned().collect()
}

/// How many sidecars are named.
const NAMED_MAX: usize = 5;

fn render(difference: &Difference, living: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for one in &difference.objects {
        lines.extend(object(
            &one.object,
            one.before.as_deref(),
            one.after.as_deref(),
        ));
    }
    if !difference.effects.is_empty() {
        lines.push(paint(HEAD, "what changes for whom"));
    }
    for effect in &difference.effects {
        let mut who: Vec<&str> = effect.proxies.iter().map(String::as_str).collect();
        let more = who.len().saturating_sub(NAMED_MAX);
        who.truncate(NAMED_MAX);
        let who = match (who.as_slice(), more) {
            ([], _) if living => paint(DIM, ": no sidecar is connected that would be told"),
            ([], _) => String::new(),
            (named, 0) => format!(": told to {}", named.join(", ")),
            (named, more) => format!(": told to {} and {more} more", named.join(", ")),
        };
        lines.push(format!("  {} ({}){who}", effect.of, effect.what.join(", ")));
        let open = effect.unguarded.map(|whom| {
            let what = format!("guarded by no AccessPolicy any more: {whom} may call");
            format!("    {}", paint(BAD, what))
        });
        lines.extend(open);
    }
    for rejected in &difference.rejected {
        lines.push(paint(
            BAD,
            format!("not in force as written: {}", rejected.object),
        ));
    }
    let locked_out = difference.locks_out_callers_of.iter().map(|service| {
        let what = format!(
            "PlaintextCallers: {service} would become Strict, and is called in plaintext (usher callers {service}): a change of \
             the mode alone waits in a directory, and usher apply needs --force; with any other change beside it they are \
             refused at once"
        );
        paint(BAD, what)
    });
    lines.extend(locked_out);
    lines.extend(difference.conditions.iter().flat_map(found::lines));
    if lines.is_empty() {
        lines.push("nothing would change".to_owned());
    }
    lines
}
