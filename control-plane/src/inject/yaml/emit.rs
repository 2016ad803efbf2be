//! Trees → text: in blocks for people, in one line as JSON has it.

use std::fmt::Write as _;

use super::node::{Content, Entry, Node, Scalar};

/// A whole document, written anew; what stood before its value in `old` (comments, `---`) stays.
pub(super) fn document(old: &str, root: &Node) -> String {
    let mut text = String::new();
    for line in old.split_inclusive('\n') {
        if line.starts_with("---") {
            text.push_str("---\n");
            break;
        }
        if !(line.trim().is_empty() || line.starts_with(['#', '%'])) {
            break;
        }
        text.push_str(line);
    }
    match &root.content {
        Content::Sequence(items) if !items.is_empty() => push_items(&mut text, items, 0),
        Content::Mapping(mapping) if !mapping.0.is_empty() => {
            push_entries(&mut text, &mapping.0, 0);
        }
        Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => {
            text.push_str(&flow(root));
        }
    }
    text.push('\n');
    if old.lines().last() == Some("...") {
        text.push_str("...\n");
    }
    text
}

/// `key: value`; lines after the first one begin with `indent` blanks.
pub(super) fn entry(entry: &Entry, indent: usize) -> String {
    let mut text = String::new();
    push_entry(&mut text, entry, indent);
    text
}

/// `- item`, likewise.
pub(super) fn item(item: &Node, indent: usize) -> String {
    let mut text = String::new();
    push_item(&mut text, item, indent);
    text
}

/// In one line, JSON unless the tree has words that are none of JSON's.
pub(in crate::inject) fn flow(node: &Node) -> String {
    let mut text = String::new();
    push_flow(&mut text, node);
    text
}

/// `"key": value`
pub(super) fn flow_entry(entry: &Entry) -> String {
    format!("{}: {}", quoted(&entry.key.text), flow(&entry.value))
}

fn push_entries(text: &mut String, entries: &[Entry], indent: usize) {
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            line(text, indent);
        }
        push_entry(text, entry, indent);
    }
}

fn push_entry(text: &mut String, entry: &Entry, indent: usize) {
    push_scalar(text, &entry.key);
    text.push(':');
    match &entry.value.content {
        Content::Sequence(items) if !items.is_empty() => {
            line(text, indent);
            push_items(text, items, indent);
        }
        Content::Mapping(mapping) if !mapping.0.is_empty() => {
            line(text, indent + 2);
            push_entries(text, &mapping.0, indent + 2);
        }
        Content::Scalar(scalar) if scalar.plain && scalar.text.is_empty() => {}
        Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => {
            text.push(' ');
            push_leaf(text, &entry.value);
        }
    }
}

fn push_items(text: &mut String, items: &[Node], indent: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            line(text, indent);
        }
        push_item(text, item, indent);
    }
}

fn push_item(text: &mut String, item: &Node, indent: usize) {
    text.push('-');
    match &item.content {
        Content::Sequence(items) if !items.is_empty() => {
            text.push(' ');
            push_items(text, items, indent + 2);
        }
        Content::Mapping(mapping) if !mapping.0.is_empty() => {
            text.push(' ');
            push_entries(text, &mapping.0, indent + 2);
        }
        Content::Scalar(scalar) if scalar.plain && scalar.text.is_empty() => {}
        Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => {
            text.push(' ');
            push_leaf(text, item);
        }
    }
}

fn line(text: &mut String, indent: usize) {
    let _ = write!(text, "\n{:indent$}", "");
}

fn push_leaf(text: &mut String, node: &Node) {
    match &node.content {
        Content::Scalar(scalar) => push_scalar(text, scalar),
        Content::Sequence(_) | Content::Mapping(_) => push_flow(text, node),
    }
}

/// What was written without quotes stays so: `0644` means what it means to whoever reads it.
fn push_scalar(text: &mut String, scalar: &Scalar) {
    let verbatim = scalar.plain && !scalar.text.contains(['\n', '\r']);
    if verbatim || is_plain(&scalar.text) {
        text.push_str(&scalar.text);
    } else if is_for_single_quotes(&scalar.text) {
        let _ = write!(text, "'{}'", scalar.text);
    } else {
        text.push_str(&quoted(&scalar.text));
    }
}

/// Whether text can do without quotes, for readers of YAML 1.1 too.
fn is_plain(text: &str) -> bool {
    let scalar = Scalar {
        text: text.to_owned(),
        plain: true,
    };
    scalar.is_text()
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte))
        && !text.ends_with(':')
}

/// Quotes of the other kind would need a backslash before each.
fn is_for_single_quotes(text: &str) -> bool {
    text.contains(['"', '\\'])
        && !text.contains('\'')
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn push_flow(text: &mut String, node: &Node) {
    match &node.content {
        Content::Scalar(scalar) if scalar.plain && scalar.text.is_empty() => text.push_str("null"),
        Content::Scalar(scalar) if scalar.plain && !scalar.is_text() => {
            text.push_str(&scalar.text);
        }
        Content::Scalar(scalar) => text.push_str(&quoted(&scalar.text)),
        Content::Sequence(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                push_flow(text, item);
            }
            text.push(']');
        }
        Content::Mapping(mapping) => {
            text.push('{');
            for (index, entry) in mapping.0.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                text.push_str(&flow_entry(entry));
            }
            text.push('}');
        }
    }
}

/// As JSON and YAML both have it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Of these YAML takes some for the end of a line and forbids others.
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
