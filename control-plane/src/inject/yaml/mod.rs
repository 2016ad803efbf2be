//! YAML that keeps its author's hand: trees that know where they stand, and texts changed only where trees differ.
//!
//! A decoder into values and back would lose comments, quotes and order, and worse: what is read as text here (`0644`,
//! `yes`) is a number or a truth value to kubectl, which reads YAML 1.1. So scalars keep their spelling, and a document is
//! edited in place. Whatever is edited is read again and compared with what was meant; only where that fails is a
//! document written anew, without its comments.

mod documents;
mod edits;
mod emit;
mod node;
mod patch;
mod read;
mod splice;

pub use node::{Content, Entry, Mapping, Node, Place, Scalar};
pub use patch::{Operation, patch};

pub(super) use documents::{Document, documents};
pub(super) use emit::flow;
pub(super) use node::{list, map, text, word};
pub(super) use read::{Unreadable, read};

/// `document`, changed so that it says `target`; `from` is what it says now.
pub(super) fn rewritten(document: &str, from: &Node, target: &Node) -> String {
    if from == target {
        return document.to_owned();
    }
    let spliced = splice::spliced(document, &edits::edits(from, target));
    let is_meant = |text: &String| {
        let read = read(text);
        read.is_ok_and(|read| read.root.as_ref() == Some(target))
    };
    match spliced.filter(is_meant) {
        Some(text) => text,
        None => emit::document(document, target),
    }
}

#[cfg(test)]
mod tests;
