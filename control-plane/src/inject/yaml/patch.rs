//! What leads from one tree to another, as JSON Patch (RFC 6902): for whoever has the object and not its text.

use serde::Serialize;
use serde_json::Value;

use super::{
    edits::{Step, aligned},
    node::{Content, Node, Scalar},
};

/// One operation of a patch, to be applied in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Adds a field, or an item before the one with this number.
    Add {
        /// JSON Pointer (RFC 6901).
        path: String,
        /// What is added.
        value: Value,
    },
    /// Takes away what is there.
    Remove {
        /// JSON Pointer.
        path: String,
    },
    /// Puts something else in its place.
    Replace {
        /// JSON Pointer.
        path: String,
        /// What is there afterwards.
        value: Value,
    },
}

/// The operations that make `target` of `from`.
pub fn patch(from: &Node, target: &Node) -> Vec<Operation> {
    let mut operations = Vec::new();
    collect("", from, target, &mut operations);
    operations
}

fn collect(path: &str, from: &Node, target: &Node, operations: &mut Vec<Operation>) {
    if from == target {
        return;
    }
    match (&from.content, &target.content) {
        (Content::Mapping(_), Content::Mapping(_)) => of_mapping(path, from, target, operations),
        (Content::Sequence(old), Content::Sequence(new)) => {
            of_sequence(path, old, new, operations);
        }
        _ => operations.push(Operation::Replace {
            path: path.to_owned(),
            value: target.to_json(),
        }),
    }
}

fn of_mapping(path: &str, from: &Node, target: &Node, operations: &mut Vec<Operation>) {
    for old in from.entries() {
        let path = child(path, &old.key.text);
        let meant = target
            .entries()
            .iter()
            .find(|new| new.key.text == old.key.text);
        match meant {
            Some(new) => collect(&path, &old.value, &new.value, operations),
            None => operations.push(Operation::Remove { path }),
        }
    }
    for new in target.entries() {
        if !from
            .entries()
            .iter()
            .any(|old| old.key.text == new.key.text)
        {
            operations.push(Operation::Add {
                path: child(path, &new.key.text),
                value: new.value.to_json(),
            });
        }
    }
}

fn of_sequence(path: &str, old: &[Node], new: &[Node], operations: &mut Vec<Operation>) {
    // As the list is when the operation's turn comes.
    let mut at = 0_usize;
    for step in aligned(old, new) {
        let path = format!("{path}/{at}");
        match step {
            Step::Both { old, new, .. } => {
                collect(&path, old, new, operations);
                at += 1;
            }
            Step::Gone { .. } => operations.push(Operation::Remove { path }),
            Step::New { item, .. } => {
                let value = item.to_json();
                operations.push(Operation::Add { path, value });
                at += 1;
            }
        }
    }
}

fn child(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

impl Node {
    /// As JSON. Words that are numbers or truth values in YAML 1.2 are such, all others are text.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(scalar) => scalar_to_json(scalar, self.is_nothing()),
            Content::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Content::Mapping(mapping) => {
                let entries = mapping.0.iter();
                let pairs = entries.map(|entry| (entry.key.text.clone(), entry.value.to_json()));
                Value::Object(pairs.collect())
            }
        }
    }
}

fn scalar_to_json(scalar: &Scalar, is_nothing: bool) -> Value {
    let word = scalar.text.as_str();
    if !scalar.plain {
        return Value::from(word);
    }
    match word {
        _ if is_nothing => Value::Null,
        "true" | "True" | "TRUE" => Value::from(true),
        "false" | "False" | "FALSE" => Value::from(false),
        _ => match serde_json::from_str::<serde_json::Number>(word) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::from(word),
        },
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        let content = match value {
            Value::Null => plain("null"),
            Value::Bool(flag) => plain(&flag.to_string()),
            Value::Number(number) => plain(&number.to_string()),
            Value::String(text) => Content::Scalar(Scalar {
                text: text.clone(),
                plain: false,
            }),
            Value::Array(items) => Content::Sequence(items.iter().map(Self::from).collect()),
            Value::Object(fields) => {
                let pairs = fields.iter();
                let pairs = pairs.map(|(key, value)| (key.as_str(), Self::from(value)));
                return super::map(pairs);
            }
        };
        Self {
            content,
            place: None,
        }
    }
}

fn plain(word: &str) -> Content {
    Content::Scalar(Scalar {
        text: word.to_owned(),
        plain: true,
    })
}
