//! The mistakes of one document, bounded; and guessing what was meant.

use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
};

use crate::kind::ObjectKey;

use super::{Mistake, Position, Related, Severity};

/// More mistakes of one document are only counted.
pub(super) const MISTAKES_MAX: usize = 200;

/// The mistakes of one document.
#[derive(Debug, Default)]
pub(super) struct Report {
    file: PathBuf,
    mistakes: RefCell<Vec<Mistake>>,
    /// What is said of an object that is none the worse for it.
    warnings: RefCell<Vec<Mistake>>,
    /// Whether fields that nobody knows are such.
    passes_unknown: Cell<bool>,
}

impl Report {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// The same, where fields that nobody knows are only warned of.
    pub(super) fn passing_unknown(file: PathBuf) -> Self {
        let report = Self::new(file);
        report.passes_unknown.set(true);
        report
    }

    pub(super) fn passes_unknown(&self) -> bool {
        self.passes_unknown.get()
    }

    /// Those about `object`.
    pub(super) fn take_warnings(&self, object: Option<&ObjectKey>) -> Vec<Mistake> {
        let mut warnings = self.warnings.take();
        if let Some(key) = object {
            warnings.iter_mut().for_each(|one| one.set_object(key));
        }
        warnings
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
        self.write(&self.mistakes, (position, field), (found, allowed), refine);
    }

    /// A field that nobody knows.
    pub(super) fn push_unknown(
        &self,
        position: Position,
        field: String,
        words: (String, String),
        nearest: Option<String>,
    ) {
        if self.passes_unknown() {
            self.write(&self.warnings, (position, field), words, |mistake| {
                mistake.severity = Severity::Warning;
                mistake.nearest = nearest;
            });
        } else {
            self.push(position, field, words, |mistake| mistake.nearest = nearest);
        }
    }

    fn write(
        &self,
        to: &RefCell<Vec<Mistake>>,
        (position, field): (Position, String),
        (found, allowed): (String, String),
        refine: impl FnOnce(&mut Mistake),
    ) {
        let mut mistakes = to.borrow_mut();
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
