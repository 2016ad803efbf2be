//! Texts of manifests: documents that change, documents that do not, and what is wrong in them, by line.

use serde::Serialize;
use usher_config::parse::Position;

use super::{
    Fault, Item, Outcome, Wish, apply,
    yaml::{self, Node, Unreadable, documents},
};

/// A text, changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// All of it; documents that nothing was done to are the same, byte for byte.
    pub text: String,
    /// In order.
    pub documents: Vec<Document>,
    /// What is wrong. If there is anything, `text` must not be used: what is in it is not all in the mesh.
    pub complaints: Vec<Complaint>,
}

/// A document, and what became of its objects that have pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it begins, from 1.
    pub line: u32,
    /// None: it has nothing to do with pods.
    pub items: Vec<Item>,
    /// It is no manifest of Kubernetes: nobody can tell whether it was meant to have pods.
    pub stranger: Option<Stranger>,
}

/// What a document is that is no manifest; it stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// From 1.
    pub line: u32,
    /// `a list`, or a mapping, and what that lacks.
    pub found: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Complaint {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// How many characters it is about.
    #[serde(skip)]
    pub length: u32,
    /// Whose, as far as that is known.
    pub object: Option<String>,
    /// The path of the field; empty: the document.
    pub field: String,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub allowed: String,
    /// The word that was probably meant.
    pub nearest: Option<String>,
}

/// Does what is asked for to every document of `text`.
pub fn change(text: &str, wish: Wish<'_>) -> Changed {
    let mut changed = Changed {
        text: String::with_capacity(text.len()),
        documents: Vec::new(),
        complaints: Vec::new(),
    };
    for document in documents(text) {
        match one(document, wish, &mut changed.complaints) {
            Ok((text, items, stranger)) => {
                changed.text.push_str(&text);
                changed.documents.push(Document {
                    line: document.first_line,
                    items,
                    stranger,
                });
            }
            Err(unreadable) => {
                changed.text.push_str(document.text);
                let complaint = of_unreadable(unreadable, document.first_line, None);
                changed.complaints.push(complaint);
            }
        }
    }
    changed
}

/// A document's new text, and what else is known of it.
type Read = (String, Vec<Item>, Option<Stranger>);

fn one(
    document: yaml::Document<'_>,
    wish: Wish<'_>,
    complaints: &mut Vec<Complaint>,
) -> Result<Read, Unreadable> {
    let read = yaml::read(document.text)?;
    let Some(root) = read.root else {
        return Ok((document.text.to_owned(), Vec::new(), None));
    };
    let stranger = stranger(&root, document);
    let mut target = root.clone();
    let mut items = apply(&mut target, wish);
    let is_changed =
        |item: &Item| matches!(item.outcome, Outcome::Injected(_) | Outcome::Uninjected);
    let changed = items.iter().any(is_changed);
    let is_for_us = changed || matches!(wish, Wish::Inject(_));
    if let (Some(odd), Some(item), true) = (read.odd, items.first(), is_for_us) {
        let object = Some(item.object.clone());
        complaints.push(of_unreadable(odd, document.first_line, object));
        for item in &mut items {
            item.outcome = Outcome::Refused(Vec::new());
        }
        return Ok((document.text.to_owned(), items, stranger));
    }
    for item in &items {
        if let Outcome::Refused(faults) = &item.outcome {
            let all = faults.iter().cloned();
            complaints.extend(all.map(|fault| of_fault(fault, document, &item.object)));
        }
    }
    // Comparing trees takes its time; most documents have no pods.
    let text = match changed {
        true => yaml::rewritten(document.text, &root, &target),
        false => document.text.to_owned(),
    };
    Ok((text, items, stranger))
}

/// What every manifest has: who reads one without these does not take it either.
fn stranger(root: &Node, document: yaml::Document<'_>) -> Option<Stranger> {
    let lacks = |key: &&str| root.get(key).and_then(Node::text).is_none();
    let found = match root.is_mapping() {
        false => root.described(),
        true => format!(
            "a mapping without {}",
            ["apiVersion", "kind"].iter().find(|key| lacks(key))?
        ),
    };
    let line = root.position().map_or(1, |place| place.line);
    Some(Stranger {
        line: in_file(line, document.first_line),
        found,
    })
}

fn of_fault(fault: Fault, document: yaml::Document<'_>, object: &str) -> Complaint {
    // What is not written is told of where its document begins.
    let place = fault.place.unwrap_or(Position {
        line: content_line(document.text),
        column: 1,
        length: 1,
    });
    Complaint {
        line: in_file(place.line, document.first_line),
        column: place.column,
        length: place.length,
        object: Some(object.to_owned()),
        field: fault.field,
        found: fault.found,
        allowed: fault.allowed,
        nearest: fault.nearest,
    }
}

fn of_unreadable(unreadable: Unreadable, first_line: u32, object: Option<String>) -> Complaint {
    Complaint {
        line: in_file(unreadable.line, first_line),
        column: unreadable.column,
        length: 1,
        object,
        field: String::new(),
        found: unreadable.found,
        allowed: unreadable.allowed.to_owned(),
        nearest: None,
    }
}

/// The first line with something in it.
fn content_line(text: &str) -> u32 {
    let is_content = |line: &str| !line.trim().is_empty() && !line.starts_with(['#', '%', '-']);
    let at = text.lines().position(is_content).unwrap_or_default();
    u32::try_from(at).unwrap_or_default().saturating_add(1)
}

fn in_file(line: u32, first_line: u32) -> u32 {
    first_line.saturating_add(line.saturating_sub(1))
}
