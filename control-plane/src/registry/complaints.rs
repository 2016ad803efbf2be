//! What is said about texts that are not, or not quite, in force: mistakes as operators read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use usher_config::{
    kind::{Kind, ObjectKey, TargetRef},
    parse::{Mistake, Parsed, Severity, is_api_file},
};

use crate::status::{MistakeReport, RejectedObject};

use super::{
    World,
    opening::{guards, routes_of},
};

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
        let (file, line) = (relative(&related.file, base), related.position.line);
        let _ = match line {
            0 => write!(message, " ({}: {file})", related.label),
            _ if is_api_file(&related.file) => write!(message, " ({}: {file})", related.label),
            line => write!(message, " ({}: {file}:{line})", related.label),
        };
    }
    let file = relative(&mistake.file, base);
    MistakeReport {
        at: match mistake.position.line {
            // One line of JSON, which nobody has written: the field says where.
            _ if is_api_file(&mistake.file) => file,
            // The file may say something else by now.
            0 => format!("{file}, as it was accepted"),
            line => format!("{file}:{line}:{}", mistake.position.column),
        },
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

/// What refuses a first start of a mesh whose directory is `base`, a line for each.
pub(crate) fn unguarded(parsed: &Parsed, base: &Path) -> Vec<String> {
    let lines = opening(parsed).map(|mistake| match report(mistake, base) {
        MistakeReport { at, path, message } if path.is_empty() => format!("{at}: {message}"),
        MistakeReport { at, path, message } => format!("{at}: {path}: {message}"),
    });
    lines.collect()
}

/// What refuses a configuration that comes whole or not at all; `world` is in force.
pub(crate) fn unguarded_objects(parsed: &Parsed, world: &World) -> Vec<RejectedObject> {
    let base = Path::new("");
    let objects = opening(parsed).map(|mistake| {
        let key = mistake.key.as_ref();
        RejectedObject {
            object: key.map_or_else(|| relative(&mistake.file, base), ToString::to_string),
            last_good: key.is_some_and(|key| world.objects.contains_key(key)),
            mistakes: vec![report(mistake, base)],
        }
    });
    objects.collect()
}

/// Mistakes without whose mending something could be called that their author has closed or limited, where no version of
/// it ever ran: of what does not say what it is, of RateLimitPolicies, of guards for what is not there
/// (misspelt, most likely), and of routes that a guard is for, whose requests would be a wider route's. (Access- and
/// AuthenticationPolicies with other mistakes close what they were meant for; without any other object less can be called,
/// not more.)
fn opening(parsed: &Parsed) -> impl Iterator<Item = &Mistake> {
    let rejected: BTreeSet<&ObjectKey> = parsed.rejected.iter().map(|one| &one.key).collect();
    let guarded = guarded_routes(parsed);
    let opens = move |mistake: &&Mistake| {
        mistake.severity == Severity::Error
            && match &mistake.key {
                Some(key) if key.kind == Kind::RateLimitPolicy && rejected.contains(key) => true,
                Some(key) if guarded.contains(key) => {
                    rejected.contains(key) || attaches_to_nothing(mistake)
                }
                Some(key) => guards(key.kind) && attaches_to_nothing(mistake),
                None => parsed.unreadable.contains(&mistake.file),
            }
    };
    parsed.mistakes.iter().filter(opens)
}

/// Routes that policies about requests are for.
fn guarded_routes(parsed: &Parsed) -> BTreeSet<ObjectKey> {
    let is_about =
        |key: &ObjectKey| matches!(key.kind, Kind::AuthenticationPolicy | Kind::RateLimitPolicy);
    let accepted = parsed.objects.iter();
    let accepted = accepted.map(|one| (one.object.key(), one.object.targets()));
    let rejected = parsed.rejected.iter();
    let rejected = rejected.map(|one| (one.key.clone(), one.targets.as_slice()));
    let policies: Vec<(ObjectKey, &[TargetRef])> = accepted
        .chain(rejected)
        .filter(|(key, _)| is_about(key))
        .collect();
    let policies = policies.iter();
    routes_of(policies.map(|(key, targets)| (&key.namespace, *targets)))
}

/// Whether it is that a target or parent does not exist.
pub(super) fn attaches_to_nothing(mistake: &Mistake) -> bool {
    let attaches = ["spec.targetRefs[", "spec.parentRefs["];
    mistake.severity == Severity::Error
        // With another object beside it, it is a conflict: who came first holds.
        && mistake.related.is_none()
        && attaches.iter().any(|field| mistake.field.starts_with(field))
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
