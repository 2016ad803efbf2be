//! The collecting decoder's cursor: asks a tree for what it should hold, writes down what it does not, goes on.
//!
//! Every question answers `Option`: `None` is "absent" or "wrong, and already reported". A decoder therefore asks
//! *all* its questions before it gives up on a missing answer (`name?` last), and three broken fields are three
//! mistakes. Whether an object is accepted is decided by the report alone.

use std::{cell::RefCell, fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr};

use crate::{kind::Choice, value::InvalidValue};

use super::position::Position;
use super::tree::{Content, Entry, Node, child, shorten};
use super::{Mistake, Related, Severity};

/// More mistakes of one document are only counted.
pub(super) const MISTAKES_MAX: usize = 200;

/// The mistakes of one document.
#[derive(Debug, Default)]
pub(super) struct Report {
    file: PathBuf,
    mistakes: RefCell<Vec<Mistake>>,
}

impl Report {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, mistakes: RefCell::default() }
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }

    pub(super) fn add(&self, position: Position, field: String, found: String, allowed: String) {
        self.push(position, field, (found, allowed), |_| {});
    }

    /// A mistake that takes two places.
    pub(super) fn add_related(
        &self,
        position: Position,
        field: String,
        found_allowed: (String, String),
        other: (Position, &str),
    ) {
        self.push(position, field, found_allowed, |mistake| {
            let file = mistake.file.clone();
            mistake.related = Some(Related { file, position: other.0, label: other.1.to_owned() });
        });
    }

    fn push(
        &self,
        position: Position,
        field: String,
        (found, allowed): (String, String),
        refine: impl FnOnce(&mut Mistake),
    ) {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() > MISTAKES_MAX {
            return;
        }
        let mut mistake = Mistake::new(self.file.clone(), position, field, found, allowed);
        if mistakes.len() == MISTAKES_MAX {
            mistake.found = format!("more than {MISTAKES_MAX} mistakes in this document");
            mistake.allowed = "none; the rest is left out".into();
            mistake.field.clear();
        } else {
            refine(&mut mistake);
        }
        mistakes.push(mistake);
    }
}

impl Mistake {
    pub(super) fn new(
        file: PathBuf,
        position: Position,
        field: String,
        found: String,
        allowed: String,
    ) -> Self {
        let (object, key, nearest, related) = (None, None, None, None);
        Self { severity: Severity::Error, file, position, object, key, field, found, allowed, nearest, related }
    }
}

/// A value in the document, and its path.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    node: &'a Node,
    path: String,
    report: &'a Report,
}

/// What a scalar means, by YAML 1.2's core schema.
enum Meaning<'a> {
    Nothing,
    Truth(bool),
    Number(serde_yaml::Number),
    Text(&'a str),
}

impl<'a> Place<'a> {
    pub(super) fn root(node: &'a Node, report: &'a Report) -> Self {
        Self { node, path: String::new(), report }
    }

    /// The same value, its mistakes written to `report`.
    pub(super) fn silently<'b>(&self, report: &'b Report) -> Place<'b>
    where
        'a: 'b,
    {
        Place { node: self.node, path: self.path.clone(), report }
    }

    /// How many items a list has; 0 for anything else.
    pub(super) fn len(&self) -> usize {
        if let Content::Sequence(items) = &self.node.content { items.len() } else { 0 }
    }

    /// Reports this value.
    pub(super) fn wrong<T>(&self, found: impl Display, allowed: impl Display) -> Option<T> {
        self.report.add(self.node.position, self.path.clone(), found.to_string(), allowed.to_string());
        None
    }

    /// Reports this value, which was probably meant to be `nearest`.
    fn misspelt(&self, position: Position, path: String, words: (String, String), nearest: Option<String>) {
        self.report.push(position, path, words, |mistake| mistake.nearest = nearest);
    }

    /// A mapping's fields.
    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        match &self.node.content {
            Content::Mapping(entries) => {
                Some(Fields { place: self.clone(), entries, known: Vec::new(), unsupported: Vec::new() })
            }
            _ => self.expected("a mapping of fields"),
        }
    }

    /// A list's items, `count` of them.
    pub(super) fn items(&self, count: RangeInclusive<usize>) -> Vec<Place<'a>> {
        let Content::Sequence(items) = &self.node.content else {
            return self.expected::<Vec<_>>("a list").unwrap_or_default();
        };
        if !count.contains(&items.len()) {
            let (least, most) = (count.start(), count.end());
            let found = format!("a list of {}", items.len());
            self.wrong::<()>(found, format!("{least} to {most} entries"));
        }
        let place = |(index, node)| Place {
            node,
            path: format!("{}[{index}]", self.path),
            report: self.report,
        };
        items.iter().take(*count.end()).enumerate().map(place).collect()
    }

    /// A mapping from text to text.
    pub(super) fn text_map(&self) -> Option<Vec<(&'a str, Place<'a>)>> {
        let Content::Mapping(entries) = &self.node.content else {
            return self.expected("a mapping from text to text");
        };
        Some(entries.iter().filter_map(|entry| Some((entry.name()?, self.inner(entry)?))).collect())
    }

    fn inner(&self, entry: &'a Entry) -> Option<Place<'a>> {
        let path = child(&self.path, entry.name()?);
        Some(Place { node: &entry.value, path, report: self.report })
    }

    /// Text; a number or truth value must be quoted to be one.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.meaning() {
            Some(Meaning::Text(text)) => Some(text),
            Some(Meaning::Number(_) | Meaning::Truth(_)) => self.expected("text (in quotes)"),
            Some(Meaning::Nothing) | None => self.expected("text"),
        }
    }

    /// Text that becomes a value by its own rules.
    pub(super) fn parse<T: FromStr<Err = InvalidValue>>(&self) -> Option<T> {
        let text = self.text()?;
        text.parse().map_err(|error: InvalidValue| self.invalid(&error)).ok()
    }

    /// Text that `read` understands.
    pub(super) fn read<T>(&self, read: impl FnOnce(&str) -> Option<T>, allowed: &str) -> Option<T> {
        let text = self.text()?;
        read(text).or_else(|| self.wrong(quoted(text), allowed))
    }

    /// A whole number with rules of its own.
    pub(super) fn number<T: TryFrom<u32, Error = InvalidValue>>(&self) -> Option<T> {
        let number = self.whole_number()?;
        // Numbers too large for u32 are out of every range, so the type's own words fit them as well.
        let value = T::try_from(u32::try_from(number).unwrap_or(u32::MAX));
        value.or_else(|error| self.wrong(format!("`{number}`"), error.allowed).ok_or(error)).ok()
    }

    /// A whole number in `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let number = self.whole_number()?;
        let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
        fits.or_else(|| {
            let allowed = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong(format!("`{number}`"), allowed)
        })
    }

    fn whole_number(&self) -> Option<u64> {
        match self.meaning() {
            Some(Meaning::Number(number)) if number.is_u64() => number.as_u64(),
            _ => self.expected("a whole number"),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.meaning() {
            Some(Meaning::Truth(truth)) => Some(truth),
            _ => self.expected("true or false"),
        }
    }

    /// One word of a closed list.
    pub(super) fn choice<C: Choice>(&self) -> Option<C> {
        let words: Vec<&str> = C::ALL.iter().map(|(word, _)| *word).collect();
        let index = self.word(&words)?;
        C::ALL.get(index).map(|(_, value)| *value)
    }

    /// The index of the word in `words`.
    pub(super) fn word(&self, words: &[&str]) -> Option<usize> {
        let text = self.text()?;
        words.iter().position(|word| *word == text).or_else(|| {
            let nearest = nearest(text, words.iter().copied());
            let allowed = if let [""] = words { "\"\"".into() } else { words.join(", ") };
            self.misspelt(self.node.position, self.path.clone(), (quoted(text), allowed), nearest);
            None
        })
    }

    fn invalid(&self, error: &InvalidValue) {
        self.wrong::<()>(quoted(&error.found), error.allowed);
    }

    fn expected<T>(&self, allowed: &str) -> Option<T> {
        let found = match (&self.node.content, self.meaning()) {
            // Reported by the survey of the tree.
            (Content::Refused(_), _) => return None,
            (Content::Sequence(_), _) => "a list".to_owned(),
            (Content::Mapping(_), _) => "a mapping".to_owned(),
            (_, Some(Meaning::Nothing) | None) => "nothing".to_owned(),
            (_, Some(Meaning::Truth(truth))) => format!("`{truth}`"),
            (_, Some(Meaning::Number(number))) => format!("the number `{number}`"),
            (_, Some(Meaning::Text(text))) => quoted(text),
        };
        self.wrong(found, allowed)
    }

    fn is_nothing(&self) -> bool {
        matches!(self.meaning(), Some(Meaning::Nothing))
    }

    fn meaning(&self) -> Option<Meaning<'a>> {
        let Content::Scalar { text, plain } = &self.node.content else { return None };
        if !plain {
            return Some(Meaning::Text(text));
        }
        Some(match serde_yaml::from_str(text) {
            Ok(serde_yaml::Value::Null) => Meaning::Nothing,
            Ok(serde_yaml::Value::Bool(truth)) => Meaning::Truth(truth),
            Ok(serde_yaml::Value::Number(number)) => Meaning::Number(number),
            _ => Meaning::Text(text),
        })
    }
}

/// The fields of one mapping. Ask for each, then [`Fields::finish`].
#[derive(Debug)]
pub(super) struct Fields<'a> {
    place: Place<'a>,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    /// Known, already complained about, and not to be suggested.
    unsupported: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The field's value, where one is written. A written `null` is as good as nothing (as in Kubernetes).
    pub(super) fn at(&mut self, name: &'static str) -> Option<Place<'a>> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let entry = self.entries.iter().find(|entry| entry.name() == Some(name))?;
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
            None => self.missing(name, format!("`{name}` is required")),
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
            None if *count.start() > 0 => {
                self.missing::<Vec<T>>(name, format!("`{name}` is required")).unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    /// Exactly one of several fields.
    pub(super) fn one_of<T>(
        &mut self,
        ways: &[(&'static str, fn(Place<'a>) -> Option<T>)],
    ) -> Option<T> {
        let written: Vec<_> =
            ways.iter().filter_map(|(name, decode)| Some((*name, self.at(name)?, decode))).collect();
        let names = || ways.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match written.as_slice() {
            [(_, place, decode)] => decode(place.clone()),
            [] => self.place.wrong("none of them", format!("exactly one of {}", names())),
            [(first, ..), (second, place, _), ..] => {
                place.wrong(format!("both `{first}` and `{second}`"), format!("exactly one of {}", names()))
            }
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

    /// Reports the fields that nobody asked for.
    pub(super) fn finish(self) {
        for entry in self.entries {
            let Some(name) = entry.name() else { continue };
            if self.known.contains(&name) || self.unsupported.contains(&name) {
                continue;
            }
            let words = (format!("unknown field `{}`", shorten(name)), self.known.join(", "));
            let path = child(&self.place.path, name);
            let nearest = nearest(name, self.known.iter().copied());
            self.place.misspelt(entry.key.position, path, words, nearest);
        }
    }

    fn missing<T>(&self, name: &str, allowed: String) -> Option<T> {
        let path = child(&self.place.path, name);
        self.place.report.add(self.place.node.position, path, "nothing".into(), allowed);
        None
    }
}

/// Sees that keys are given once in a list.
#[derive(Debug, Default)]
pub(super) struct Once(std::collections::HashMap<String, Position>);

impl Once {
    /// Reports `place` if its `key` was there before.
    pub(super) fn check(&mut self, place: &Place<'_>, key: impl Into<String>) {
        let key = key.into();
        match self.0.get(&key) {
            Some(first) => place.report.add_related(
                place.node.position,
                place.path.clone(),
                (format!("{} for the second time", quoted(&key)), "each one once".into()),
                (*first, "first given here"),
            ),
            None => drop(self.0.insert(key, place.node.position)),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", shorten(text))
}

/// The word that was probably meant: at most a third of the letters wrong, in whatever case.
pub(super) fn nearest<'a>(found: &str, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let found = found.to_lowercase();
    if found.len() > 128 {
        return None;
    }
    let distance = |word: &str| strsim::osa_distance(&found, &word.to_lowercase());
    let (distance, word) = words.map(|word| (distance(word), word)).min_by_key(|(distance, _)| *distance)?;
    (distance <= found.chars().count().div_ceil(3)).then(|| word.to_owned())
}
