//! The collecting decoder's cursor: one value of a tree, asked what it should be.
//!
//! Every question answers `Option`: `None` is "wrong, and already reported". See `fields` for mappings.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use crate::{kind::Choice, value::InvalidValue};

use super::fields::Fields;
use super::position::Position;
use super::report::{Report, nearest};
use super::tree::{Content, Entry, Node, child, shorten};

/// A value in the document, and its path.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) path: String,
    pub(super) report: &'a Report,
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
        Self {
            node,
            path: String::new(),
            report,
        }
    }

    /// The same value, its mistakes written to `report`.
    pub(super) fn silently<'b>(&self, report: &'b Report) -> Place<'b>
    where
        'a: 'b,
    {
        Place {
            node: self.node,
            path: self.path.clone(),
            report,
        }
    }

    /// How many items a list has; 0 for anything else.
    pub(super) fn len(&self) -> usize {
        if let Content::Sequence(items) = &self.node.content {
            items.len()
        } else {
            0
        }
    }

    /// Reports this value.
    pub(super) fn wrong<T>(&self, found: impl Display, allowed: impl Display) -> Option<T> {
        self.report.add(
            self.node.position,
            self.path.clone(),
            found.to_string(),
            allowed.to_string(),
        );
        None
    }

    /// Reports this value, which was probably meant to be `nearest`.
    pub(super) fn misspelt(
        &self,
        position: Position,
        path: String,
        words: (String, String),
        nearest: Option<String>,
    ) {
        self.report
            .push(position, path, words, |mistake| mistake.nearest = nearest);
    }

    /// A mapping's fields.
    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        match &self.node.content {
            Content::Mapping(entries) => Some(Fields::new(self.clone(), entries)),
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
        items
            .iter()
            .take(*count.end())
            .enumerate()
            .map(place)
            .collect()
    }

    /// A mapping from text to text.
    pub(super) fn text_map(&self) -> Option<Vec<(&'a str, Place<'a>)>> {
        let Content::Mapping(entries) = &self.node.content else {
            return self.expected("a mapping from text to text");
        };
        Some(
            entries
                .iter()
                .filter_map(|entry| Some((entry.name()?, self.inner(entry)?)))
                .collect(),
        )
    }

    /// The value of one entry of this mapping.
    pub(super) fn inner(&self, entry: &'a Entry) -> Option<Place<'a>> {
        let path = child(&self.path, entry.name()?);
        Some(Place {
            node: &entry.value,
            path,
            report: self.report,
        })
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
        if let (Some(Meaning::Number(number)), Content::Scalar { text, .. }) =
            (self.meaning(), &self.node.content)
            && let Err(error) = text.parse::<T>()
        {
            // Quotes alone would not help: `15` is no duration, and neither is "15".
            return self.wrong(format!("the number `{number}`"), error.allowed);
        }
        let text = self.text()?;
        text.parse()
            .map_err(|error: InvalidValue| self.invalid(&error))
            .ok()
    }

    /// Text that `read` understands.
    pub(super) fn read<T>(&self, read: impl FnOnce(&str) -> Option<T>, allowed: &str) -> Option<T> {
        let text = self.text()?;
        read(text).or_else(|| self.wrong(quoted(text), allowed))
    }

    /// A whole number with rules of its own.
    pub(super) fn number<T: TryFrom<u32, Error = InvalidValue>>(&self) -> Option<T> {
        let allowed = || T::try_from(u32::MAX).err().map(|error| error.allowed);
        let number = self.whole_number(|| allowed().unwrap_or("a whole number").to_owned())?;
        // Numbers too large for u32 are out of every range, so the type's own words fit them as well.
        let value = T::try_from(u32::try_from(number).unwrap_or(u32::MAX));
        value
            .or_else(|error| {
                self.wrong(format!("`{number}`"), error.allowed)
                    .ok_or(error)
            })
            .ok()
    }

    /// A whole number in `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
        let number = self.whole_number(allowed)?;
        let fits = u32::try_from(number)
            .ok()
            .filter(|number| range.contains(number));
        fits.or_else(|| self.wrong(format!("`{number}`"), allowed()))
    }

    fn whole_number(&self, allowed: impl FnOnce() -> String) -> Option<u64> {
        match self.meaning() {
            Some(Meaning::Number(number)) if number.is_u64() => number.as_u64(),
            Some(Meaning::Text(text)) if text.parse::<u64>().is_ok() => {
                // Plain, it is text to YAML because of its leading zero.
                match self.node.content {
                    Content::Scalar { plain: true, .. } => self.wrong(
                        quoted(text),
                        format!("{}, without leading zeros", allowed()),
                    ),
                    _ => self.unquoted(text, &allowed()),
                }
            }
            _ => self.expected(&allowed()),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.meaning() {
            Some(Meaning::Truth(truth)) => Some(truth),
            Some(Meaning::Text(text)) if text.parse::<bool>().is_ok() => {
                self.unquoted(text, "true or false")
            }
            _ => self.expected("true or false"),
        }
    }

    /// Its quotes are the only mistake.
    fn unquoted<T>(&self, text: &str, allowed: &str) -> Option<T> {
        self.wrong(
            format!("the text {}", quoted(text)),
            format!("{allowed}, without quotes"),
        )
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
            let allowed = if let [""] = words {
                "\"\"".into()
            } else {
                words.join(", ")
            };
            self.misspelt(
                self.node.position,
                self.path.clone(),
                (quoted(text), allowed),
                nearest,
            );
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

    /// Whether it is `null`, written or implied.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.meaning(), Some(Meaning::Nothing))
    }

    fn meaning(&self) -> Option<Meaning<'a>> {
        let Content::Scalar { text, plain } = &self.node.content else {
            return None;
        };
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

/// Whoever names the wrong file shall not find his key in a log.
pub(super) fn quoted(text: &str) -> String {
    if text.trim_start().starts_with("-----BEGIN") {
        return "a PEM block".to_owned();
    }
    format!("`{}`", shorten(text))
}
