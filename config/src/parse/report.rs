//! The mistakes of one document, bounded; and guessing what was meant.

use std::{cell::RefCell, path::PathBuf};

use super::{Mistake, Position, Related, Severity};

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
        Self {
            file,
            mistakes: RefCell::default(),
        }
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
            mistake.related = Some(Related {
                file,
                position: other.0,
                label: other.1.to_owned(),
            });
        });
    }

    pub(super) fn push(
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
        Self {
            severity: Severity::Error,
            file,
            position,
            object,
            key,
            field,
            found,
            allowed,
            nearest,
            related,
            depends_on_age: false,
        }
    }
}

/// The name that was probably meant, as `(namespace, name)`: a near one in the same namespace, else the same one in a near
/// namespace. Never both at once: the letters of a long namespace would pay for another name.
pub fn nearest_qualified<'a>(
    (namespace, name): (&str, &str),
    known: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<(String, String)> {
    let there = known.clone().filter(|other| other.0 == namespace);
    if let Some(near) = nearest(name, there.map(|other| other.1)) {
        return Some((namespace.to_owned(), near));
    }
    let elsewhere = known.filter(|other| other.1 == name);
    let near = nearest(namespace, elsewhere.map(|other| other.0))?;
    Some((near, name.to_owned()))
}

/// The word that was probably meant: at most a third of the letters wrong, in whatever case.
pub fn nearest<'a>(found: &str, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let found = found.to_lowercase();
    if found.len() > 128 {
        return None;
    }
    let distance = |word: &str| strsim::osa_distance(&found, &word.to_lowercase());
    let (distance, word) = words
        .map(|word| (distance(word), word))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= found.chars().count().div_ceil(3)).then(|| word.to_owned())
}
