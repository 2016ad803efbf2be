//! One thing that is wrong: where, whose, what was found, what is allowed, and what was probably meant.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::kind::{Kind, ObjectKey};

use super::{Colours, Position};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Cannot be meant so. `Parsed::objects` has only objects without errors of their own.
    Error,
    /// Can be meant so, but hardly is.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mistake {
    /// How bad it is.
    pub severity: Severity,
    /// As given to `parse_files`.
    pub file: PathBuf,
    /// Where.
    #[serde(flatten)]
    pub position: Position,
    /// Whose, as far as the document says: `HTTPRoute bank/account`.
    pub object: Option<String>,
    /// Whose, where kind, namespace and name are all valid.
    #[serde(skip)]
    pub key: Option<ObjectKey>,
    /// The path of the field: `spec.rules[0].timeouts.request`; empty for the document as a whole.
    pub field: String,
    /// What stands there, cut to a readable length.
    pub found: String,
    /// What could stand there.
    pub allowed: String,
    /// The valid word nearest to what was found.
    pub nearest: Option<String>,
    /// The other place, for mistakes that take two.
    pub related: Option<Related>,
    /// Whoever knows which object was accepted first knows better, and says so by himself.
    #[serde(skip)]
    pub depends_on_age: bool,
}

/// The other place of a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// As given to `parse_files`.
    pub file: PathBuf,
    /// Where.
    #[serde(flatten)]
    pub position: Position,
    /// What is there: `first defined here`.
    pub label: String,
}

impl fmt::Display for Mistake {
    /// `file:line:column: kind ns/name: field.path: found …, allowed: …; did you mean …?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: ",
            self.file.display(),
            self.position.line,
            self.position.column
        )?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "found {}, allowed: {}", self.found, self.allowed)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if let Some(Related {
            file,
            position,
            label,
        }) = &self.related
        {
            write!(
                f,
                " ({label}: {}:{}:{})",
                file.display(),
                position.line,
                position.column
            )?;
        }
        Ok(())
    }
}

impl Mistake {
    /// Says whose mistake it is.
    pub(super) fn set_object(&mut self, key: &ObjectKey) {
        self.object = Some(match key.kind {
            Kind::Mesh => format!("{} {}", key.kind, key.name),
            _ => key.to_string(),
        });
        self.key = Some(key.clone());
    }
}

/// The mistake as compilers show it.
pub(super) fn render(
    mistake: &Mistake,
    sources: &BTreeMap<PathBuf, Arc<str>>,
    colours: Colours,
) -> String {
    let level = match mistake.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let subject: Vec<&str> = mistake
        .object
        .as_deref()
        .into_iter()
        .chain(Some(mistake.field.as_str()))
        .filter(|t| !t.is_empty())
        .collect();
    let title = if subject.is_empty() {
        format!("found {}", mistake.found)
    } else {
        format!("{}: found {}", subject.join(": "), mistake.found)
    };
    let mut group = level.primary_title(title).elements(excerpt(
        sources,
        &mistake.file,
        mistake.position,
        AnnotationKind::Primary,
        "",
    ));
    if let Some(related) = &mistake.related {
        let context = AnnotationKind::Context;
        group = group.elements(excerpt(
            sources,
            &related.file,
            related.position,
            context,
            &related.label,
        ));
    }
    group = group.element(Level::HELP.message(format!("allowed: {}", mistake.allowed)));
    if let Some(nearest) = &mistake.nearest {
        group = group.element(Level::HELP.message(format!("did you mean `{nearest}`?")));
    }
    let renderer = match colours {
        Colours::Plain => Renderer::plain(),
        Colours::Ansi => Renderer::styled(),
    };
    renderer.render(&[group]).to_string()
}

/// Two lines around a position, the position underlined; only the file's name where the text is not at hand.
fn excerpt<'a>(
    sources: &'a BTreeMap<PathBuf, Arc<str>>,
    file: &'a Path,
    position: Position,
    kind: AnnotationKind,
    label: &'a str,
) -> Option<Element<'a>> {
    let Some(source) = sources.get(file) else {
        return Some(Origin::path(file.to_string_lossy()).into());
    };
    let line = source
        .split_inclusive('\n')
        .nth(usize::try_from(position.line).ok()?.checked_sub(1)?)?;
    let line = line.trim_end_matches(['\n', '\r']);
    let byte_of = |column: u32| {
        let characters = usize::try_from(column).unwrap_or(usize::MAX);
        line.char_indices()
            .nth(characters)
            .map_or(line.len(), |(byte, _)| byte)
    };
    let start = position.column.saturating_sub(1);
    let span = byte_of(start)..byte_of(start.saturating_add(position.length.max(1)));
    let annotation: Annotation<'a> = kind.span(span);
    let annotation = if label.is_empty() {
        annotation
    } else {
        annotation.label(label)
    };
    let line_number = usize::try_from(position.line).ok()?;
    let snippet = Snippet::source(line)
        .line_start(line_number)
        .path(file.to_string_lossy())
        .annotation(annotation);
    Some(snippet.into())
}
