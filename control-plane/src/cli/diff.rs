//! `usher diff`: what files would change in the living mesh, and in which sidecars; nothing is changed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;
use serde::Serialize;
use usher_config::{kind::ObjectKey, parse::Parsed, value::ServiceName};

use super::{
    Failure, Outcome, block_on, exit,
    found::{self, Found},
    history::object,
    locate::DataDirectory,
    offline,
    operator::read,
    paint::{BAD, DIM, HEAD, WARN, paint},
    validate,
};
use crate::{
    admin::operator::history::InForce,
    compile::{
        compile,
        modes::{LockOut, lock_outs},
    },
    registry::{
        World,
        store::{Stored, Wait},
    },
    status::{CallerReport, ProxyReport, RejectedObject, StatusReport},
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
    /// Services whose mode would wait, `namespace/service`: they are called in plaintext.
    mode_waits_for_callers_of: Vec<String>,
    /// Services that are called in plaintext and would refuse that at once.
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
        let before = self.before()?;
        let difference = difference(&before, &parsed, self.base());
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

    fn before(&self) -> Result<Before, Failure> {
        if !self.against.is_empty() {
            let parsed = offline::parsed(&self.against)?;
            return Ok(Before {
                world: offline::reading(&parsed).world,
                ..Before::default()
            });
        }
        let in_force: InForce = block_on(read(&self.data, "/v1/configuration"))?;
        let status: StatusReport = block_on(read(&self.data, "/v1/status"))?;
        let callers: Vec<CallerReport> = block_on(read(&self.data, "/v1/callers"))?;
        let stored: Stored = in_force.try_into().map_err(|error| {
            Failure::of(exit::FAILED, &error).advise("is the control plane of this version?")
        })?;
        let (world, _) = World::restored(&stored);
        let called = callers.iter().filter(|one| one.let_in);
        let called = called.map(|one| format!("{}/{}", one.namespace, one.service));
        Ok(Before {
            world,
            proxies: status.proxies,
            called: called.filter_map(|name| name.parse().ok()).collect(),
        })
    }
}

/// What there is.
#[derive(Default)]
struct Before {
    world: World,
    /// Who would be told.
    proxies: Vec<ProxyReport>,
    /// Services that let somebody in who speaks plaintext.
    called: BTreeSet<ServiceName>,
}

fn difference(before: &Before, parsed: &Parsed, base: &Path) -> Difference {
    let Before {
        world: before,
        proxies,
        called,
    } = before;
    let mut reading = before.read(parsed, base, SystemTime::now());
    let old = compile(before);
    let lock_outs = lock_outs((&old).into(), &reading.world, called);
    let of = |what| {
        let these = lock_outs.iter().filter(move |(_, one)| **one == what);
        these.map(|(service, _)| service.clone())
    };
    let waits = of(LockOut::Waits).map(|service| (service, Wait::Called));
    reading.world.still_permissive = waits.collect();
    let text = |world: &World, key: &ObjectKey| {
        world.objects.get(key).map(|object| object.text.to_string())
    };
    let one = |key: &ObjectKey| ObjectDifference {
        object: key.to_string(),
        before: text(before, key),
        after: text(&reading.world, key),
    };
    let new = compile(&reading.world);
    let mut findings = new.findings.clone();
    findings.retain(|finding| found::is_news(finding) && !old.findings.contains(finding));
    Difference {
        objects: reading.changed.iter().map(one).collect(),
        effects: effects(&old, &new, proxies),
        mode_waits_for_callers_of: of(LockOut::Waits).map(|one| one.to_string()).collect(),
        locks_out_callers_of: of(LockOut::AtOnce).map(|one| one.to_string()).collect(),
        conditions: found::found(parsed, (&reading.world, &new), findings),
        rejected: reading.rejected,
    }
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
    let waits = difference.mode_waits_for_callers_of.iter().map(|service| {
        let what = format!(
            "PlaintextCallers: {service} is called in plaintext (usher callers {service}): it would be Strict when nobody calls so \
             any more, or by --force; all else is in force at once"
        );
        paint(WARN, what)
    });
    lines.extend(waits);
    let locked_out = difference.locks_out_callers_of.iter().map(|service| {
        let what = format!(
            "PlaintextCallers: {service} would be Strict, and is called in plaintext (usher callers {service}): they are refused at \
             once, as its ports, its rules for callers without identity, its tokens or its workloads change with it"
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
