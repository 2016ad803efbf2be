//! Where things stand in a text.

use std::collections::BTreeMap;

use serde::Serialize;

/// A stretch of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// How many characters belong to it, as far as they are on this line; at least 1.
    #[serde(skip)]
    pub length: u32,
}

/// The positions of one object's fields, by path: `spec.rules[0].timeouts.request`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(pub(super) BTreeMap<String, Position>);

impl Positions {
    /// Where the field's value stands; if the field is not written, its nearest written ancestor.
    pub fn of(&self, path: &str) -> Position {
        let mut path = path;
        loop {
            if let Some(position) = self.0.get(path) {
                return *position;
            }
            let Some(end) = path.rfind(['.', '[']) else {
                break;
            };
            path = path.get(..end).unwrap_or_default();
        }
        self.0.get("").copied().unwrap_or_default()
    }
}
