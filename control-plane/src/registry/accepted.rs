//! An object in force, and what it came from.

use std::{
    path::Path,
    sync::{Arc, Weak},
    time::SystemTime,
};

use usher_config::{
    kind::Object,
    parse::{Located, Positions},
};

use super::store::StoredObject;

/// An object in force.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// As parsed.
    pub object: Arc<Object>,
    /// Its canonical YAML: equal meaning, equal text.
    pub text: Arc<str>,
    /// Where it came from, relative to the configuration directory.
    pub file: Arc<str>,
    /// When an object of this name was first accepted; of a FaultPolicy, this version of it.
    pub accepted_at: SystemTime,
    /// What was parsed, as long as whoever reads it keeps that.
    pub(super) from: Weak<Located>,
}

impl PartialEq for Accepted {
    /// Equal texts say the same.
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.file, self.accepted_at) == (&other.text, &other.file, other.accepted_at)
    }
}

impl Accepted {
    pub(super) fn is_from(&self, located: &Arc<Located>) -> bool {
        std::ptr::eq(self.from.as_ptr(), Arc::as_ptr(located))
    }

    /// As a parser would have it, but standing in no text that is known.
    pub fn located(&self) -> Arc<Located> {
        Arc::new(Located {
            object: Object::clone(&self.object),
            file: Path::new(&*self.file).into(),
            document_index: 0,
            line: 0,
            positions: Positions::default(),
        })
    }
}

impl Accepted {
    /// As a store keeps it.
    pub fn stored(&self) -> StoredObject {
        StoredObject {
            text: self.text.as_ref().into(),
            file: self.file.as_ref().into(),
            accepted_at: self.accepted_at,
        }
    }
}
