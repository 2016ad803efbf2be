//! Whose absence says nothing: files that cannot be read, or not wholly.
//!
//! What came from them stays; also what came from files that are gone: it may have moved into one that cannot be
//! read. So may a guard whose own file is still there and can be read: where it was wrongly kept, too little is open. Emptied files count as unreadable (a full disk, a copy that has only begun), and so does a directory without
//! any file (not mounted, not checked out): to delete objects, delete their documents.

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
    denied::protects,
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

    /// Whether an object from `file` that is found nowhere stays as it is.
    pub(super) fn keeps(&self, key: &ObjectKey, file: &str) -> bool {
        let guards = protects(key.kind) || key.kind == Kind::RateLimitPolicy;
        self.covers(file) || guards && self.some_unreadable()
    }

    /// Whether something may be anywhere.
    pub(super) fn some_unreadable(&self) -> bool {
        self.bare || !self.unreadable.is_empty()
    }

    /// Takes no new TLSRoutes and TCPRoutes while a guard may be where nobody can read: of routes for connections no policy
    /// can be told that closes them alone, and they may lead past those of Services. Says which.
    pub(super) fn hold_back(
        &self,
        before: &World,
        next: &mut World,
        parsed: &Parsed,
        base: &Path,
    ) -> Vec<RejectedObject> {
        let unread = parsed.unreadable.first();
        let Some(unread) = unread.map(|file| relative(file, base)) else {
            return Vec::new();
        };
        let mut held_back = Vec::new();
        for located in &parsed.objects {
            let key = located.object.key();
            let is_stream = matches!(key.kind, Kind::TlsRoute | Kind::TcpRoute);
            if !is_stream
                || before.objects.contains_key(&key)
                || next.objects.remove(&key).is_none()
            {
                continue;
            }
            let file = relative(&located.file, base);
            let mistake = MistakeReport {
                at: format!("{file}:{}:1", located.line),
                path: String::new(),
                message: format!(
                    "found a new {}, allowed: none while {unread} cannot be read, which may hold a policy; it holds as \
                     soon as that file can be read",
                    key.kind
                ),
            };
            held_back.push(RejectedObject {
                object: key.to_string(),
                last_good: false,
                mistakes: vec![mistake],
            });
        }
        held_back
    }

    /// Whether anything from `file` may still be there.
    pub(super) fn is_unreadable(&self, file: &str) -> bool {
        let is_gone = !self.present.contains(file);
        self.bare || self.unreadable.contains(file) || is_gone && !self.unreadable.is_empty()
    }
}

#[cfg(test)]
mod tests;
