//! The collecting decoder's cursor: asks a tree for what it should hold, writes down what it does not, goes on.
//!
//! Every question answers `Option`: `None` is "absent" or "wrong, and already reported". A decoder therefore asks
//! *all* its questions before it gives up on a missing answer (`name?` last), and three broken fields are three
//! mistakes. Whether an object is accepted is decided by the report alone.

use std::{collections::HashMap, ops::RangeInclusive};

use super::place::{Place, quoted};
use super::position::Position;
use super::report::nearest;
use super::tree::{Entry, child, shorten};

/// A field that may be written, and how it is read.
pub(super) type Way<'a, T> = (&'static str, fn(Place<'a>) -> Option<T>);

/// The fields of one mapping. Ask for each, then [`Fields::finish`].
#[derive(Debug)]
pub(super) struct Fields<'a> {
    place: Place<'a>,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    /// Known, already complained about, and not to be suggested.
    unsupported: Vec<&'static str>,
    /// Required and not written; reported at the end, when it is known which fields are misspelt.
    missing: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(place: Place<'a>, entries: &'a [Entry]) -> Self {
        Self {
            place,
            entries,
            known: Vec::new(),
            unsupported: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The field's value, where one is written. A written `null` is as good as nothing (as in Kubernetes).
    pub(super) fn at(&mut self, name: &'static str) -> Option<Place<'a>> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name() == Some(name))?;
        self.place.inner(entry).filter(|place| !place.is_nothing())
    }

    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(Place<'a>) -> Option<T>,
    ) -> Option<T> {
        decode(self.at(name)?)
    }

    /// A group that may be left out, and is then empty.
    pub(super) fn group<T: Default>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(Place<'a>) -> Option<T>,
    ) -> T {
        self.optional(name, decode).unwrap_or_default()
    }

    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(Place<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.at(name) {
            Some(place) => decode(place),
            None => {
                self.missing.push(name);
                None
            }
        }
    }

    /// A list of `count` items; absent is empty, which is reported where `count` begins above 0.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        count: RangeInclusive<usize>,
        decode: impl FnMut(Place<'a>) -> Option<T>,
    ) -> Vec<T> {
        match self.at(name) {
            Some(place) => place.items(count).into_iter().filter_map(decode).collect(),
            None => {
                self.missing.extend((*count.start() > 0).then_some(name));
                Vec::new()
            }
        }
    }

    /// Exactly one of several fields.
    pub(super) fn one_of<T>(&mut self, ways: &[Way<'a, T>]) -> Option<T> {
        let written: Vec<_> = ways
            .iter()
            .filter_map(|(name, decode)| Some((*name, self.at(name)?, decode)))
            .collect();
        let names = || {
            ways.iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match written.as_slice() {
            [(_, place, decode)] => decode(place.clone()),
            [] => self
                .place
                .wrong("none of them", format!("exactly one of {}", names())),
            [(first, ..), (second, place, _), ..] => place.wrong(
                format!("both `{first}` and `{second}`"),
                format!("exactly one of {}", names()),
            ),
        }
    }

    /// A field of the specification that this version does not do yet.
    pub(super) fn unsupported(&mut self, name: &'static str) {
        if let Some(place) = self.at(name) {
            place.wrong::<()>(
                format!("`{name}`"),
                "leave it out: this version of Usher does not support it yet",
            );
        }
        self.known.retain(|known| *known != name);
        self.unsupported.push(name);
    }

    /// A spelling that people arrive with, for which there is another one here.
    pub(super) fn renamed(&mut self, old: &'static str, allowed: &str) {
        let written = |entry: &&Entry| entry.name() == Some(old);
        if let Some(entry) = self.entries.iter().find(written) {
            let path = child(&self.place.path, old);
            let found = format!("`{old}`");
            let words = (found, allowed.to_owned());
            self.place
                .report
                .push_unknown(entry.key.position, path, words, None);
        }
        self.unsupported.push(old);
    }

    /// Reports the fields that nobody asked for, and those that are missing.
    pub(super) fn finish(mut self) {
        for entry in self.entries {
            let Some(name) = entry.name() else { continue };
            if self.known.contains(&name) || self.unsupported.contains(&name) {
                continue;
            }
            let words = (
                format!("unknown field `{}`", shorten(name)),
                self.known.join(", "),
            );
            let path = child(&self.place.path, name);
            let nearest = nearest(name, self.known.iter().copied());
            let report = self.place.report;
            // One slip of the pen is one mistake: the misspelt field is not missing as well.
            if !report.passes_unknown() {
                self.missing
                    .retain(|missing| nearest.as_deref() != Some(*missing));
            }
            report.push_unknown(entry.key.position, path, words, nearest);
        }
        self.finish_unread();
    }

    /// Reports only what is missing, where the rest was not asked for.
    pub(super) fn finish_unread(self) {
        for name in self.missing {
            let (path, allowed) = (
                child(&self.place.path, name),
                format!("a value; `{name}` is required"),
            );
            self.place
                .report
                .add(self.place.node.position, path, "nothing".into(), allowed);
        }
    }
}

/// Sees that keys are given once in a list.
#[derive(Debug, Default)]
pub(super) struct Once(HashMap<String, Position>);

impl Once {
    /// Reports `place` if its `key` was there before.
    pub(super) fn check(&mut self, place: &Place<'_>, key: impl Into<String>) {
        let key = key.into();
        match self.0.get(&key) {
            Some(first) => place.report.add_related(
                place.node.position,
                place.path.clone(),
                (
                    format!("{} for the second time", quoted(&key)),
                    "each one once".into(),
                ),
                (*first, "first given here"),
            ),
            None => drop(self.0.insert(key, place.node.position)),
        }
    }
}
