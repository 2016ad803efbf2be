//! What is said about texts that are not, or not quite, in force: mistakes as operators read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use usher_config::{
    kind::{Kind, ObjectKey},
    parse::{Mistake, Parsed, Severity},
};

use crate::status::{Condition, MistakeReport, RejectedObject};

use super::World;

/// `file` as people know it: below the configuration directory, with `/`.
pub(super) fn relative(file: &Path, base: &Path) -> String {
    file.strip_prefix(base)
        .unwrap_or(file)
        .to_string_lossy()
        .replace('\\', "/")
}

pub(super) fn report(mistake: &Mistake, base: &Path) -> MistakeReport {
    let mut message = format!("found {}, allowed: {}", mistake.found, mistake.allowed);
    if let Some(nearest) = &mistake.nearest {
        let _ = write!(message, "; did you mean `{nearest}`?");
    }
    if let Some(related) = &mistake.related {
        let file = relative(&related.file, base);
        let _ = write!(
            message,
            " ({}: {file}:{})",
            related.label, related.position.line
        );
    }
    let file = relative(&mistake.file, base);
    MistakeReport {
        at: format!(
            "{file}:{}:{}",
            mistake.position.line, mistake.position.column
        ),
        path: mistake.field.clone(),
        message,
    }
}

pub(super) fn rejected_objects(
    parsed: &Parsed,
    next: &World,
    excused: &BTreeSet<ObjectKey>,
    complaints: BTreeMap<ObjectKey, Vec<MistakeReport>>,
) -> Vec<RejectedObject> {
    // The key of a document without a valid name is ours; people know it by what they wrote.
    let titles: BTreeMap<&ObjectKey, &str> = parsed
        .mistakes
        .iter()
        .filter_map(|mistake| Some((mistake.key.as_ref()?, mistake.object.as_deref()?)))
        .collect();
    let nameless: BTreeSet<&ObjectKey> = parsed
        .rejected
        .iter()
        .filter(|rejected| !rejected.named)
        .map(|rejected| &rejected.key)
        .collect();
    let is_named = |key: &ObjectKey| !nameless.contains(key);
    let rejected = complaints
        .into_iter()
        .map(|(key, mistakes)| RejectedObject {
            object: match titles.get(&key) {
                Some(title) if !is_named(&key) => (*title).to_owned(),
                _ => key.to_string(),
            },
            last_good: next.objects.contains_key(&key) || excused.contains(&key),
            mistakes,
        });
    rejected.collect()
}

pub(super) fn unreadable_files(parsed: &Parsed, next: &World, base: &Path) -> Vec<RejectedObject> {
    let files = parsed.unreadable.iter().map(|file| {
        let mistakes = parsed.mistakes.iter().filter(|mistake| {
            mistake.file == *file && mistake.key.is_none() && mistake.severity == Severity::Error
        });
        let name = relative(file, base);
        RejectedObject {
            last_good: next.objects.values().any(|of| *of.file == *name),
            object: name,
            mistakes: mistakes.map(|mistake| report(mistake, base)).collect(),
        }
    });
    files.collect()
}

/// Mistakes without whose mending something could be called that their author has closed or limited, where no version of
/// it ever ran: of what does not say what it is, and of RateLimitPolicies. (Access- and AuthenticationPolicies with
/// mistakes close what they were meant for; without any other object less can be called, not more.)
pub(crate) fn unguarded(parsed: &Parsed, base: &Path) -> Vec<String> {
    let is_limit = |key: &ObjectKey| key.kind == Kind::RateLimitPolicy;
    let rejected = parsed.rejected.iter().map(|rejected| &rejected.key);
    let limits: BTreeSet<&ObjectKey> = rejected.filter(|key| is_limit(key)).collect();
    let opens = |mistake: &&Mistake| {
        mistake.severity == Severity::Error
            && match &mistake.key {
                Some(key) => limits.contains(key),
                None => parsed.unreadable.contains(&mistake.file),
            }
    };
    let mistakes = parsed.mistakes.iter().filter(opens);
    let lines = mistakes.map(|mistake| match report(mistake, base) {
        MistakeReport { at, path, message } if path.is_empty() => format!("{at}: {message}"),
        MistakeReport { at, path, message } => format!("{at}: {path}: {message}"),
    });
    lines.collect()
}

/// What is worth saying about objects that are in force as written.
pub(super) fn remarks(parsed: &Parsed, next: &World, base: &Path) -> Vec<Condition> {
    let broken: BTreeSet<&ObjectKey> = parsed
        .rejected
        .iter()
        .map(|rejected| &rejected.key)
        .collect();
    let about_accepted = |mistake: &&Mistake| match &mistake.key {
        Some(key) => !broken.contains(key) && next.objects.contains_key(key),
        None => mistake.severity == Severity::Warning,
    };
    let remarks = parsed
        .mistakes
        .iter()
        // The compiler knows the ages, and says it of whichever object it holds.
        .filter(|mistake| !mistake.depends_on_age)
        .filter(about_accepted)
        .map(|mistake| {
            let MistakeReport { at, path, message } = report(mistake, base);
            Condition {
                object: mistake
                    .object
                    .clone()
                    .unwrap_or_else(|| relative(&mistake.file, base)),
                reason: match mistake.severity {
                    Severity::Error => "Invalid".to_owned(),
                    Severity::Warning => "Warning".to_owned(),
                },
                message: match path.as_str() {
                    "" => format!("{at}: {message}"),
                    path => format!("{at}: {path}: {message}"),
                },
            }
        });
    remarks.collect()
}

/// A file or directory whose emptiness is taken for an accident, and not for a deletion.
pub(super) fn emptied(path: &str, found: &str) -> RejectedObject {
    let allowed = "objects; to delete them all, leave a file with a comment in it";
    RejectedObject {
        object: path.to_owned(),
        last_good: true,
        mistakes: vec![MistakeReport {
            at: path.to_owned(),
            path: String::new(),
            message: format!("found {found}, allowed: {allowed}"),
        }],
    }
}

#[cfg(test)]
mod tests;
