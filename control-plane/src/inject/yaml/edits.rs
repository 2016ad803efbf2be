//! What leads from one tree to another, by the least that has to be touched.

use super::node::{Content, Entry, Node};

/// One change of a collection as it was read.
#[derive(Debug)]
pub(super) enum Edit<'a> {
    /// Behind all of a mapping's entries.
    AddEntry(&'a Node, &'a Entry),
    /// In the place of one.
    ReplaceEntry(&'a Node, usize, &'a Entry),
    /// From the first to the last, with those before and after it kept.
    RemoveEntries(&'a Node, usize, usize),
    /// Before the item with this number; that of none: behind all.
    AddItem(&'a Node, usize, &'a Node),
    /// In the place of one.
    ReplaceItem(&'a Node, usize, &'a Node),
    /// Likewise.
    RemoveItems(&'a Node, usize, usize),
}

/// From `from` to `target`; `None`: not by changes inside of it.
pub(super) fn edits<'a>(from: &'a Node, target: &'a Node) -> Option<Vec<Edit<'a>>> {
    let mut edits = Vec::new();
    collect(from, target, &mut edits).then_some(edits)
}

/// Whether it could be done inside of `from`.
fn collect<'a>(from: &'a Node, target: &'a Node, edits: &mut Vec<Edit<'a>>) -> bool {
    if from == target {
        return true;
    }
    match (&from.content, &target.content) {
        (Content::Mapping(_), Content::Mapping(_)) => of_mapping(from, target, edits),
        (Content::Sequence(_), Content::Sequence(_)) => of_sequence(from, target, edits),
        _ => return false,
    }
    true
}

fn of_mapping<'a>(from: &'a Node, target: &'a Node, edits: &mut Vec<Edit<'a>>) {
    let (old, new) = (from.entries(), target.entries());
    let has = |entries: &[Entry], entry: &Entry| {
        entries.iter().any(|other| other.key.text == entry.key.text)
    };
    let mut added = new.iter().filter(|entry| !has(old, entry));
    for (index, entry) in old.iter().enumerate() {
        let Some(meant) = new.iter().find(|other| other.key.text == entry.key.text) else {
            match added.next() {
                Some(other) => edits.push(Edit::ReplaceEntry(from, index, other)),
                None => remove(edits, Edit::RemoveEntries(from, index, index)),
            }
            continue;
        };
        if !collect(&entry.value, &meant.value, edits) {
            edits.push(Edit::ReplaceEntry(from, index, meant));
        }
    }
    edits.extend(added.map(|entry| Edit::AddEntry(from, entry)));
}

fn of_sequence<'a>(from: &'a Node, target: &'a Node, edits: &mut Vec<Edit<'a>>) {
    for step in aligned(from.items(), target.items()) {
        match step {
            Step::Both { at, old, new } => {
                if !collect(old, new, edits) {
                    edits.push(Edit::ReplaceItem(from, at, new));
                }
            }
            Step::Gone { at } => remove(edits, Edit::RemoveItems(from, at, at)),
            Step::New { before, item } => edits.push(Edit::AddItem(from, before, item)),
        }
    }
}

/// As part of the removal before it, where that ends just there.
fn remove<'a>(edits: &mut Vec<Edit<'a>>, edit: Edit<'a>) {
    match (edits.last_mut(), &edit) {
        (Some(Edit::RemoveEntries(before, _, last)), Edit::RemoveEntries(node, first, _))
        | (Some(Edit::RemoveItems(before, _, last)), Edit::RemoveItems(node, first, _))
            if std::ptr::eq(*before, *node) && *last + 1 == *first =>
        {
            *last = *first;
        }
        _ => edits.push(edit),
    }
}

/// One step through two lists at once, in the order of the second.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Both {
        at: usize,
        old: &'a Node,
        new: &'a Node,
    },
    Gone {
        at: usize,
    },
    New {
        before: usize,
        item: &'a Node,
    },
}

/// Items with names are the same if their names are, others if they are equal.
pub(super) fn aligned<'a>(old: &'a [Node], new: &'a [Node]) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut left = old.iter().enumerate();
    for item in new {
        let mut ahead = left.clone();
        match ahead.find(|(_, other)| is_same(other, item)) {
            None => steps.push(Step::New {
                before: left.clone().next().map_or(old.len(), |(at, _)| at),
                item,
            }),
            Some((found, other)) => {
                let gone = left.take_while(|(at, _)| *at < found);
                steps.extend(gone.map(|(at, _)| Step::Gone { at }));
                steps.push(Step::Both {
                    at: found,
                    old: other,
                    new: item,
                });
                left = ahead;
            }
        }
    }
    steps.extend(left.map(|(at, _)| Step::Gone { at }));
    steps
}

fn is_same(one: &Node, other: &Node) -> bool {
    let name = |node: &Node| {
        node.get("name")
            .and_then(|name| name.text().map(str::to_owned))
    };
    match (name(one), name(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
