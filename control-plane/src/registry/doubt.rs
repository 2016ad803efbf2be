//! Whose absence says nothing: files that cannot be read, or not wholly.
//!
//! What came from them stays; also what came from files that are gone: it may have moved into one that cannot be
//! read. So may a guard whose own file is still there and can be read (where it was wrongly kept, too little is open), and
//! the route that a guard is for; so may the Mesh, whose defaults may let more in and out. Edits beside such a file that may open
//! something wait for it ([`super::opening`]).
//! Emptied files count as unreadable (a full disk, a copy that has only begun), and so does a directory without any file (not
//! mounted, not checked out): to delete objects, delete their documents.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use usher_config::{
    kind::{Kind, ObjectKey},
    parse::Parsed,
};

use crate::status::{MistakeReport, RejectedObject};

use super::{
    World,
    complaints::{emptied, relative},
    opening::{guarded_routes, guards, may_open, opens_alone},
    world::Accepted,
};

/// What cannot be told from a text. Files are named relative to the configuration directory.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Nothing is there at all.
    bare: bool,
    /// Some document does not even say what it is.
    unreadable: BTreeSet<String>,
    /// Some document says what it is, but not its name.
    nameless: BTreeSet<String>,
    /// Everything that is there.
    present: BTreeSet<String>,
}

impl Doubt {
    /// About `parsed`, coming after `world`; and what to say about emptiness.
    pub(super) fn new(world: &World, parsed: &Parsed, base: &Path) -> (Self, Vec<RejectedObject>) {
        let named = |file: &PathBuf| relative(file, base);
        let nameless = parsed.rejected.iter().filter(|rejected| !rejected.named);
        let mut doubt = Self {
            bare: parsed.sources.is_empty() && parsed.unreadable.is_empty(),
            unreadable: parsed.unreadable.iter().map(named).collect(),
            nameless: nameless.map(|rejected| named(&rejected.file)).collect(),
            present: parsed.sources.keys().map(named).collect(),
        };
        let mut complaints = Vec::new();
        let objects = world.objects.values().map(|object| &*object.file);
        let denied = world.denied.values().map(|denied| denied.file.as_str());
        let origins: BTreeSet<&str> = objects.chain(denied).collect();
        for (file, text) in &parsed.sources {
            let file = relative(file, base);
            if text.trim().is_empty() && origins.contains(file.as_str()) {
                complaints.push(emptied(&file, "an empty file, which had objects"));
                doubt.unreadable.insert(file);
            }
        }
        if doubt.bare && !origins.is_empty() {
            let directory = base.display().to_string();
            complaints.push(emptied(
                &directory,
                "no configuration file at all, where there were some",
            ));
        }
        (doubt, complaints)
    }

    /// Whether an object from `file` may still be there, under its name or in a document without one.
    pub(super) fn covers(&self, file: &str) -> bool {
        let is_gone = !self.present.contains(file);
        self.is_unreadable(file)
            || self.nameless.contains(file)
            || is_gone && !self.nameless.is_empty()
    }

    /// Files that hold documents nobody knows anything of, emptied ones among them.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &String> {
        self.unreadable.iter()
    }

    /// Whether something may be anywhere.
    pub(super) fn some_unreadable(&self) -> bool {
        self.bare || !self.unreadable.is_empty()
    }

    /// Keeps what may be in files that cannot be read now. A guard that is found nowhere may be in one of them, too, a
    /// route that a guard is for, and the Mesh. Says which of those were found nowhere.
    pub(super) fn keep(&self, before: &World, next: &mut World) -> Vec<RejectedObject> {
        let guarded = match self.unreadable.is_empty() {
            true => BTreeSet::new(),
            false => guarded_routes(before),
        };
        let mut missed = Vec::new();
        for (key, accepted) in &before.objects {
            if next.objects.contains_key(key) {
                continue;
            }
            let is_covered = self.covers(&accepted.file);
            let may_have_moved =
                guards(key.kind) || key.kind == Kind::Mesh || guarded.contains(key);
            let unread = self.unreadable.first().filter(|_| may_have_moved);
            if !is_covered && let Some(unread) = unread {
                let gone = "no document of it any more, allowed: one";
                let then = "it may have moved there, and goes as soon as that file can be read and does not have it";
                missed.push(waiting(
                    key,
                    (&accepted.file, 1),
                    (gone, unread, then),
                    true,
                ));
            }
            if is_covered || unread.is_some() {
                next.objects.insert(key.clone(), accepted.clone());
            }
        }
        missed
    }

    /// Takes no edit that may open something while the guard for it may be where nobody can read, and no new object that
    /// opens something and cannot be closed alone. Says which.
    pub(super) fn hold_back(
        &self,
        before: &World,
        next: &mut World,
        parsed: &Parsed,
        base: &Path,
    ) -> Vec<RejectedObject> {
        let Some(unread) = self.unreadable.first() else {
            return Vec::new();
        };
        let mut held_back = Vec::new();
        for located in &parsed.objects {
            let key = located.object.key();
            let is_taken = |now: &Accepted| *now.object == located.object;
            if !next.objects.get(&key).is_some_and(is_taken) {
                continue;
            }
            let at = (&*relative(&located.file, base), located.line);
            let then =
                "its guard may be there, so it comes into force as soon as that file can be read";
            match before.objects.get(&key) {
                None if opens_alone(key.kind) => {
                    next.objects.remove(&key);
                    let found = &format!("a new {}, allowed: none", key.kind);
                    let then = match key.kind {
                        Kind::Mesh => {
                            "what it lets in or out may be about what is there, so it comes into force as soon as that file can be read"
                        }
                        _ => then,
                    };
                    held_back.push(waiting(&key, at, (found, unread, then), false));
                }
                Some(last_good) if may_open(&last_good.object, &located.object) => {
                    next.objects.insert(key.clone(), last_good.clone());
                    let found = match key.kind {
                        kind if guards(kind) => {
                            "another target in the place of one, allowed: those that it had"
                        }
                        Kind::Mesh => "another version, allowed: the one in force,",
                        _ => {
                            "another version, allowed: the one in force, but for timeouts, retries and weights of \
                             backends that are in use,"
                        }
                    };
                    held_back.push(waiting(&key, at, (found, unread, then), true));
                }
                None | Some(_) => {}
            }
        }
        held_back
    }

    /// Whether anything from `file` may still be there.
    pub(super) fn is_unreadable(&self, file: &str) -> bool {
        let is_gone = !self.present.contains(file);
        self.bare || self.unreadable.contains(file) || is_gone && !self.unreadable.is_empty()
    }
}

/// What is said of an object that does not become what its source says before a file can be read.
fn waiting(
    key: &ObjectKey,
    (file, line): (&str, u32),
    (found, unread, then): (&str, &str, &str),
    last_good: bool,
) -> RejectedObject {
    let mistake = MistakeReport {
        at: format!("{file}:{line}:1"),
        path: String::new(),
        message: format!("found {found} while {unread} cannot be read: {then}"),
    };
    RejectedObject {
        object: key.to_string(),
        last_good,
        mistakes: vec![mistake],
    }
}

#[cfg(test)]
mod tests;
