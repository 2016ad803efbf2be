//! Reads a JSON object field by field and collects every mistake, where serde would stop at the first.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::problem::{Mistake, Problem};
use crate::rules;

/// The fields of one request body.
///
/// Readers return `None` after noting the mistake; the caller reads all and then gives up with
/// [`Fields::into_problem`] if one is missing.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    known: Vec<&'static str>,
    mistakes: Vec<Mistake>,
}

impl Fields {
    /// # Errors
    /// A 400 when the body is not a JSON object.
    pub fn from_body(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(Self {
                object,
                known: Vec::new(),
                mistakes: Vec::new(),
            }),
            Ok(other) => Err(refuse_body(&describe(&other))),
            Err(error) => Err(refuse_body(&error.to_string())),
        }
    }

    /// A required id ([`rules::ID`]).
    pub fn id(&mut self, name: &'static str) -> Option<String> {
        self.matching(name, rules::ID, rules::is_id)
    }

    /// An id that may be absent: `Some(None)` when it is, `None` when it is wrong.
    pub fn optional_id(&mut self, name: &'static str) -> Option<Option<String>> {
        if self.is_absent(name) {
            return Some(None);
        }
        self.id(name).map(Some)
    }

    /// A required currency ([`rules::CURRENCY`]).
    pub fn currency(&mut self, name: &'static str) -> Option<String> {
        self.matching(name, rules::CURRENCY, rules::is_currency)
    }

    /// A required text that `is_right`.
    pub fn matching(
        &mut self,
        name: &'static str,
        allowed: &str,
        is_right: fn(&str) -> bool,
    ) -> Option<String> {
        self.known.push(name);
        let value = self.object.get(name);
        if let Some(text) = value.and_then(Value::as_str).filter(|text| is_right(text)) {
            return Some(text.to_owned());
        }
        self.mistakes
            .push(Mistake::new(name, &found(value), allowed));
        None
    }

    /// A text of at most [`rules::TEXT_LENGTH_MAX`] characters; absent gives the empty text.
    pub fn text_or_empty(&mut self, name: &'static str) -> Option<String> {
        if self.is_absent(name) {
            return Some(String::new());
        }
        self.matching(name, "at most 140 printable characters", rules::is_text)
    }

    /// A required amount ([`rules::CENTS`]).
    pub fn cents(&mut self, name: &'static str) -> Option<i64> {
        self.known.push(name);
        let value = self.object.get(name);
        if let Some(cents) = value
            .and_then(Value::as_i64)
            .filter(|cents| rules::is_cents(*cents))
        {
            return Some(cents);
        }
        self.mistakes
            .push(Mistake::new(name, &found(value), rules::CENTS));
        None
    }

    /// Notes a mistake that the caller found.
    pub fn note(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// To be called when all fields were read.
    ///
    /// # Errors
    /// A 400 when there was any mistake, a field nobody asked for included.
    pub fn finish(mut self) -> Result<(), Problem> {
        self.note_unknown();
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(&self.mistakes))
        }
    }

    /// The 400 that names all mistakes.
    #[must_use]
    pub fn into_problem(mut self) -> Problem {
        self.note_unknown();
        Problem::invalid(&self.mistakes)
    }

    fn note_unknown(&mut self) {
        let allowed = format!("one of {}", self.known.join(", "));
        let unknown = self
            .object
            .keys()
            .filter(|name| !self.known.contains(&name.as_str()));
        let mistakes: Vec<_> = unknown
            .map(|name| Mistake::new(name, "an unknown field", &allowed))
            .collect();
        self.mistakes.extend(mistakes);
    }

    fn is_absent(&mut self, name: &'static str) -> bool {
        self.known.push(name);
        matches!(self.object.get(name), None | Some(Value::Null))
    }
}

fn refuse_body(found: &str) -> Problem {
    Problem::invalid(&[Mistake::new("body", found, "a JSON object")])
}

fn found(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), describe)
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
