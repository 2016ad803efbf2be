//! `usher validate`: every mistake of every file, in one pass, without a control plane.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::Args;
use usher_config::parse::{Colours, Parsed, Severity};

use super::{
    Outcome, exit,
    found::{self, Found},
    offline,
    paint::{BAD, GOOD, WARN, paint},
};
use crate::{
    compile::{Reason, compile},
    registry::is_unread,
};

/// Check YAML files: the same check the control plane makes before it accepts them
///
/// All paths together are one configuration, so references between them are checked too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher validate mesh/
  usher validate mesh/ new-route.yaml
  usher validate --strict mesh/                  # before a merge
  usher validate mesh/ --json | jq -r '.mistakes[] | \"\\(.file):\\(.line): \\(.found)\"'

Exit codes: 0 no errors (warnings may be, unless --strict), 1 errors, 64 usage, 70 a path cannot be read.")]
pub(super) struct Validate {
    /// Files, or directories with *.yaml and *.yml files at any depth
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print {"ok","objects","errors","warnings","mistakes":[…],"conditions":[…]}
    #[arg(long)]
    json: bool,
    /// Take warnings for errors: what is accepted but names what is not there, and therefore answers 403 or 500
    #[arg(long)]
    strict: bool,
}

impl Validate {
    pub(super) fn execute(self) -> Outcome {
        let parsed = offline::parsed(&self.paths)?;
        let files = offline::files(&parsed);
        let findings = findings(&parsed);
        let errors = count(&parsed, Severity::Error);
        let warnings = count(&parsed, Severity::Warning) + findings.len();
        let is_good = errors == 0 && !(self.strict && warnings > 0);
        if self.json {
            super::print_json(&serde_json::json!({
                "ok": is_good,
                "files": files,
                "objects": parsed.objects.len(),
                "errors": errors,
                "warnings": warnings,
                "mistakes": parsed.mistakes,
                "conditions": findings,
            }))?;
        } else {
            show(&parsed);
            for finding in &findings {
                anstream::eprintln!("{}\n", found::lines(finding).join("\n"));
            }
            anstream::println!("{}", summary(&parsed, files, findings.len()));
        }
        Ok(if is_good { exit::OK } else { exit::MISTAKES })
    }
}

/// What only compiling shows. The rest is left out: parsing has complained about it, with the line.
fn findings(parsed: &Parsed) -> Vec<Found> {
    let world = offline::reading(parsed).world;
    let compiled = compile(&world);
    let mut findings = compiled.findings.clone();
    // That a file cannot be read has been said, and nothing would start with it.
    findings.retain(|finding| {
        let denied = world.denied.get(&finding.object);
        found::is_news(finding) && !denied.is_some_and(|one| is_unread(&finding.object, one))
    });
    let mut found = found::found(parsed, (&world, &compiled), findings);
    for one in &mut found {
        one.note_ages();
        if one.is(Reason::Denies) {
            one.note(" (a control plane that has an earlier, valid version keeps to that)");
        }
    }
    found
}

/// Shows all mistakes, and says how many of them are errors.
pub(super) fn show_errors(parsed: &Parsed) -> usize {
    show(parsed);
    count(parsed, Severity::Error)
}

/// Shows each mistake with its line and a caret, on stderr.
fn show(parsed: &Parsed) {
    let colours = if io::stderr().is_terminal() {
        Colours::Ansi
    } else {
        Colours::Plain
    };
    for mistake in &parsed.mistakes {
        anstream::eprintln!("{}\n", parsed.render(mistake, colours));
    }
}

fn count(parsed: &Parsed, severity: Severity) -> usize {
    parsed
        .mistakes
        .iter()
        .filter(|mistake| mistake.severity == severity)
        .count()
}

fn summary(parsed: &Parsed, files: usize, findings: usize) -> String {
    let (errors, warnings) = (
        count(parsed, Severity::Error),
        count(parsed, Severity::Warning) + findings,
    );
    let mut kinds = BTreeMap::new();
    for located in &parsed.objects {
        *kinds
            .entry(located.object.kind().to_string())
            .or_insert(0_usize) += 1;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, number)| plural(*number, kind))
        .collect();
    let objects = plural(parsed.objects.len(), "good object");
    let objects = if kinds.is_empty() {
        objects
    } else {
        format!("{objects} ({})", kinds.join(", "))
    };
    let verdict = match (errors, warnings) {
        (0, 0) => paint(GOOD, "ok"),
        (0, _) => paint(WARN, plural(warnings, "warning")),
        (_, 0) => paint(BAD, plural(errors, "error")),
        _ => paint(
            BAD,
            format!(
                "{}, {}",
                plural(errors, "error"),
                plural(warnings, "warning")
            ),
        ),
    };
    format!("{verdict}: {objects} in {}", plural(files, "file"))
}

/// `1 file`, `2 files`, `2 TrafficPolicies`, `2 Gateways`, `2 Meshes`.
pub(super) fn plural(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {}", several(noun)),
    }
}

/// Of a noun, its plural; of a kind, as Kubernetes spells it.
pub(super) fn several(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with("sh") => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests;
