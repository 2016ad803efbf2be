//! What is worth saying about what is in force: warnings, and mistakes between objects that are each well-formed.
//!
//! About what runs, never about what is only written: a text that was refused leaves the version before it in force, and what
//! is said of that version is true as long as it is (a route may lead to a Service that nobody guards, and the file it came
//! from may be broken since). Where all texts are in force as written, reading them has told; else the objects in force are
//! checked against each other, with a place where a text still says the same.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use usher_config::{
    kind::ObjectKey,
    parse::{Located, Mistake, Parsed, Rejected, Severity, mistakes_between},
};

use crate::status::{Condition, MistakeReport};

use super::{
    World,
    complaints::{relative, report},
    denied::Denied,
    world::Accepted,
};

/// What is worth saying about a world. Unless reading it has told already, it is looked for when somebody asks first.
#[derive(Debug, Clone, Default)]
pub struct Remarks(Arc<OnceLock<Vec<Condition>>>);

impl Remarks {
    /// Those of `world`, to which they belong.
    pub fn of(&self, world: &World) -> &[Condition] {
        self.0.get_or_init(|| in_force(world))
    }
}

impl From<Vec<Condition>> for Remarks {
    fn from(told: Vec<Condition>) -> Self {
        Self(Arc::new(told.into()))
    }
}

/// Of objects that are all in force as written.
pub(super) fn as_written(parsed: &Parsed, next: &World, base: &Path) -> Vec<Condition> {
    conditions(&parsed.mistakes, next, base)
}

/// Of objects of which some are not in force as written: `parsed` has the places of the others.
pub(super) fn beside_what_is_kept(parsed: &Parsed, next: &World, base: &Path) -> Vec<Condition> {
    let read = parsed.objects.iter();
    let read: BTreeMap<ObjectKey, &Arc<Located>> = read
        .map(|located| (located.object.key(), located))
        .collect();
    let objects = next.objects.iter().map(|(key, accepted)| {
        let written = read.get(key).copied();
        match written.filter(|located| located.object == *accepted.object) {
            Some(located) => Arc::clone(located),
            None => accepted.located(),
        }
    });
    let mut mistakes = mistakes_between(objects.collect(), closed(next));
    // Of documents that are no objects of ours.
    let files = parsed.mistakes.iter().filter(|one| one.key.is_none());
    mistakes.extend(files.cloned());
    conditions(&mistakes, next, base)
}

/// Of objects whose texts are not at hand.
fn in_force(world: &World) -> Vec<Condition> {
    let objects = world.objects.values().map(Accepted::located).collect();
    conditions(
        &mistakes_between(objects, closed(world)),
        world,
        Path::new(""),
    )
}

fn closed(world: &World) -> Vec<Rejected> {
    let closed = world
        .denied
        .iter()
        .map(|(key, Denied { targets, file })| Rejected {
            key: key.clone(),
            named: true,
            file: file.into(),
            line: 0,
            targets: targets.clone(),
        });
    closed.collect()
}

fn conditions(mistakes: &[Mistake], world: &World, base: &Path) -> Vec<Condition> {
    let is_about_accepted = |mistake: &&Mistake| match &mistake.key {
        Some(key) => world.objects.contains_key(key),
        None => mistake.severity == Severity::Warning,
    };
    let remarks = mistakes
        .iter()
        // The compiler knows the ages, and says it of whichever object it holds.
        .filter(|mistake| !mistake.depends_on_age)
        .filter(is_about_accepted)
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

#[cfg(test)]
mod tests;
