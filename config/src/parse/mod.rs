//! Text → kinds, every mistake of every file in one pass.
//!
//! `serde` stops at the first mistake and forgets where things stood, so there are three steps of our own:
//! `tree` turns each YAML document into a tree that knows the position of every key and value; `place`, `fields` and
//! `decode` turn trees into kinds, writing down each mistake and going on; `references` checks objects
//! against each other. Text is untrusted: documents, nesting and work are bounded, and nothing here panics.

mod mistake;
mod position;
mod tree;
mod report;
mod place;
mod fields;
mod decode;
mod references;
mod documents;
mod files;
mod found;
mod known;
mod api;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::kind::{Kind, Object, ObjectKey, TargetRef};

pub use mistake::{Mistake, Related, Severity};
pub use position::{Position, Positions};
pub use references::mistakes_between;
pub use report::{nearest, nearest_qualified};

/// What a set of files says.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The objects without mistakes of their own, in order of file and document. Each key occurs once: of
    /// duplicates the first is here.
    pub objects: Vec<Arc<Located>>,
    /// Everything to complain about, errors and warnings, in order of position.
    pub mistakes: Vec<Mistake>,
    /// Objects that say who they are but have mistakes, and AccessPolicies that say their namespace at least. Their last good version should stay in force.
    pub rejected: Vec<Rejected>,
    /// Of the rejected ones, what could be read: their references are checked all the same, and then they go.
    pub(crate) broken: Vec<Arc<Located>>,
    /// Files of which at least one document could not be read far enough to know whose it is: objects that came
    /// from them before should stay in force.
    pub unreadable: Vec<PathBuf>,
    /// The texts, for [`Parsed::render`].
    pub sources: BTreeMap<PathBuf, Arc<str>>,
    /// When objects were made, where somebody has kept the time: the older one holds a target that two want.
    pub since: BTreeMap<ObjectKey, SystemTime>,
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Located {
    /// The object.
    pub object: Object,
    /// As given to [`parse_files`].
    pub file: Arc<Path>,
    /// The document in the file, from 0; empty documents count.
    pub document_index: usize,
    /// Where the object begins, from 1; 0: it stands in no text that is known.
    pub line: u32,
    /// Where each of its fields stands; of what stands nowhere, none.
    pub positions: Positions,
}

/// An object with mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Who it is. Of an AccessPolicy that says no valid name, a name made of its file and place in it.
    pub key: ObjectKey,
    /// Whether the name is its own. If not, it may be an earlier object of the file, misnamed.
    pub named: bool,
    /// As given to [`parse_files`].
    pub file: PathBuf,
    /// Where the object begins, from 1.
    pub line: u32,
    /// What a policy was meant for: its targets, and where one of them cannot be read or is not the policy's to
    /// choose, its whole namespace. A broken first AccessPolicy must deny there, never allow.
    pub targets: Vec<TargetRef>,
}

impl Parsed {
    /// Whether something is wrong, warnings aside.
    pub fn has_errors(&self) -> bool {
        self.mistakes
            .iter()
            .any(|mistake| mistake.severity == Severity::Error)
    }

    /// These objects, which need not stand in a text.
    pub fn of(objects: Vec<Arc<Located>>) -> Self {
        Self {
            objects,
            ..Self::default()
        }
    }

    /// A file that nobody can tell the objects of.
    pub fn unreadable(file: PathBuf) -> Self {
        Self {
            unreadable: vec![file],
            ..Self::default()
        }
    }

    /// Since when an object is there that comes `now`. The time of a FaultPolicy runs from the version that says how long.
    pub fn made(&self, key: &ObjectKey, now: SystemTime) -> SystemTime {
        let made = self.since.get(key).copied();
        let made = made.filter(|_| key.kind != Kind::FaultPolicy);
        made.map_or(now, |made| made.min(now))
    }

    /// A mistake as compilers show it: the source's line with a caret below. Plain text, or with terminal colours.
    pub fn render(&self, mistake: &Mistake, colours: Colours) -> String {
        mistake::render(mistake, &self.sources, colours)
    }
}

/// Whether [`Parsed::render`] writes ANSI escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Text only.
    Plain,
    /// For terminals.
    Ansi,
}

pub use api::{API_FOLDER, api_file, is_api_file, parse_alone, parse_object, together, written};
pub use files::{
    UNNAMED, parse_directory, parse_directory_again, parse_files, parse_paths, unnamed,
};
pub use known::Known;

#[cfg(test)]
mod tests;
