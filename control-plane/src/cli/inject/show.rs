//! What is said of manifests: on stderr for people, as JSON for programs, as a difference; and the manifests themselves.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::{Value, json};
use usher_config::parse::{Colours, Mistake, Parsed, Position, Severity};

use super::Done;
use crate::{
    cli::{
        Failure, exit,
        paint::{BAD, DIM, GOOD, WARN, paint},
    },
    inject::{Complaint, Item, Outcome, Stranger},
};

/// A line for each object, and each mistake with its line and a caret. Where something is wrong nothing was done, so of all
/// that is right, and of what has no pods, nothing is told.
pub(super) fn on_stderr(all: &[Done], is_good: bool) {
    let mut parsed = Parsed::default();
    for done in all {
        let items = done.changed.documents.iter().flat_map(|one| &one.items);
        for item in items.filter(|item| is_good || is_refused(item)) {
            say(item);
        }
        parsed
            .sources
            .insert(done.file.path.clone(), done.file.text.as_str().into());
    }
    let colours = match io::stderr().is_terminal() {
        true => Colours::Ansi,
        false => Colours::Plain,
    };
    for done in all {
        for complaint in &done.changed.complaints {
            let mistake = mistake(done, complaint);
            anstream::eprintln!("\n{}", parsed.render(&mistake, colours));
        }
    }
    if is_good {
        for line in podless(all) {
            anstream::eprintln!("{line}");
        }
    }
}

/// Documents that nobody can tell of whether they were meant to have pods; if all was understood and nothing has pods, that.
pub(super) fn podless(all: &[Done]) -> Vec<String> {
    let of = |done: &Done, stranger: &Stranger| {
        let (path, Stranger { line, found }) = (done.file.path.display(), stranger);
        let what = "a manifest has apiVersion and kind; it stays as it is";
        format!(
            "{}: {path}:{line}: found {found}: {what}",
            paint(WARN, "no manifest")
        )
    };
    let strangers = all.iter().flat_map(|done| {
        let strangers = done.changed.documents.iter();
        strangers.filter_map(move |one| Some(of(done, one.stranger.as_ref()?)))
    });
    let mut lines: Vec<String> = strangers.collect();
    let mut documents = all.iter().flat_map(|done| &done.changed.documents);
    if lines.is_empty() && documents.all(|document| document.items.is_empty()) {
        lines.push(paint(DIM, "nothing here has pods"));
    }
    lines
}

/// Whether somebody could take an object out of the mesh instead of mending it: not where its text cannot be read, which
/// its annotations cannot either.
pub(super) fn may_opt_out(all: &[Done]) -> bool {
    let mut items = all
        .iter()
        .flat_map(|done| &done.changed.documents)
        .flat_map(|document| &document.items);
    items.any(|item| matches!(&item.outcome, Outcome::Refused(faults) if !faults.is_empty()))
}

fn is_refused(item: &Item) -> bool {
    matches!(item.outcome, Outcome::Refused(_))
}

fn say(item: &Item) {
    let (style, what, lines) = match &item.outcome {
        Outcome::Injected(remarks) => (GOOD, "injected", remarks.clone()),
        Outcome::Uninjected => (GOOD, "uninjected", Vec::new()),
        Outcome::Skipped(skip) => (WARN, "skipped", vec![skip.to_string()]),
        Outcome::HadNone => (DIM, "had none", Vec::new()),
        Outcome::Refused(_) => (BAD, "refused", Vec::new()),
    };
    anstream::eprintln!("{}: {}", paint(style, what), item.object);
    for line in lines {
        anstream::eprintln!("  {line}");
    }
}

fn mistake(done: &Done, complaint: &Complaint) -> Mistake {
    Mistake {
        severity: Severity::Error,
        file: done.file.path.clone(),
        position: Position {
            line: complaint.line,
            column: complaint.column,
            length: complaint.length.max(1),
        },
        object: complaint.object.clone(),
        key: None,
        field: complaint.field.clone(),
        found: complaint.found.clone(),
        allowed: complaint.allowed.clone(),
        nearest: complaint.nearest.clone(),
        related: None,
        depends_on_age: false,
    }
}

/// The whole as one JSON document; manifests only if they may be used.
pub(super) fn report(all: &[Done], is_good: bool) -> Value {
    let objects = all.iter().flat_map(|done| {
        let documents = done.changed.documents.iter();
        documents.flat_map(move |document| {
            let items = document.items.iter();
            items.map(move |item| object(&done.file.path.to_string_lossy(), document.line, item))
        })
    });
    let mistakes = all.iter().flat_map(|done| {
        let complaints = done.changed.complaints.iter();
        complaints.map(move |complaint| json!(mistake(done, complaint)))
    });
    let mut report = json!({
        "ok": is_good,
        "objects": objects.collect::<Vec<_>>(),
        "mistakes": mistakes.collect::<Vec<_>>(),
    });
    if is_good && let Some(report) = report.as_object_mut() {
        let manifests = all.iter().map(
            |done| json!({"file": done.file.path.to_string_lossy(), "text": done.changed.text}),
        );
        report.insert("manifests".to_owned(), manifests.collect());
    }
    report
}

fn object(file: &str, line: u32, item: &Item) -> Value {
    let (outcome, reason, remarks) = match &item.outcome {
        Outcome::Injected(remarks) => ("injected", None, remarks.clone()),
        Outcome::Uninjected => ("uninjected", None, Vec::new()),
        Outcome::Skipped(skip) => ("skipped", Some(skip.to_string()), Vec::new()),
        Outcome::HadNone => ("hadNone", None, Vec::new()),
        Outcome::Refused(faults) => {
            let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
            ("refused", Some(all.join("; ")), Vec::new())
        }
    };
    json!({
        "file": file,
        "line": line,
        "object": item.object,
        "outcome": outcome,
        "reason": reason,
        "remarks": remarks,
    })
}

/// As `diff -u` has it; empty: nothing would change.
pub(super) fn difference(all: &[Done]) -> String {
    let mut text = String::new();
    for done in all {
        let (before, after) = (&done.file.text, &done.changed.text);
        if before == after {
            continue;
        }
        let path = done.file.path.display();
        let difference = similar::TextDiff::from_lines(before, after);
        let mut unified = difference.unified_diff();
        let unified = unified
            .header(&format!("a/{path}"), &format!("b/{path}"))
            .to_string();
        for line in unified.lines() {
            let style = match line.chars().next() {
                Some('+') => GOOD,
                Some('-') => BAD,
                _ => DIM,
            };
            text.push_str(&paint(style, line));
            text.push('\n');
        }
    }
    text
}

/// Writes them.
pub(super) fn manifests(all: &[Done]) -> Result<(), Failure> {
    let written = io::stdout().lock().write_all(joined(all).as_bytes());
    written.map_err(|error| Failure::of(exit::FAILED, &error))
}

/// One file's as it is; several as one stream of documents.
pub(super) fn joined(all: &[Done]) -> String {
    let mut text = String::new();
    for done in all {
        let next = &done.changed.text;
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "" } else { "\n" });
            text.push_str(if next.starts_with("---") { "" } else { "---\n" });
        }
        text.push_str(next);
    }
    text
}
