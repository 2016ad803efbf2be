//! An object's YAML without fields that say nothing.
//!
//! Canonical text names every list and group that a kind has, also the empty ones. Most say nothing; but an empty group may
//! be a choice (`breaker: {}` turns it on), and an empty rule allows all. So a field is left out only if what is left means
//! the same, which the parser says.

use serde_yaml::{Mapping, Value};
use usher_config::parse::parse_files;

/// The same object in fewer lines; `text` as it is where it cannot be read (by a control plane of another version).
pub(super) fn brief(text: &str) -> String {
    let (Some(meaning), Ok(mut whole)) = (canonical(text), serde_yaml::from_str::<Value>(text))
    else {
        return text.to_owned();
    };
    let is_same = |value: &Value| {
        let text = serde_yaml::to_string(value).ok();
        text.and_then(|text| canonical(&text)).as_ref() == Some(&meaning)
    };
    let mut all = whole.clone();
    while drop_first(&mut all, &mut 0) {}
    if is_same(&all) {
        whole = all;
    } else {
        // One of them says something: each is asked about.
        let mut kept = 0;
        loop {
            let mut without = whole.clone();
            if !drop_first(&mut without, &mut kept.clone()) {
                break;
            }
            match is_same(&without) {
                true => whole = without,
                false => kept += 1,
            }
        }
    }
    serde_yaml::to_string(&whole).unwrap_or_else(|_| text.to_owned())
}

/// One text per meaning; `None`: it is no valid object.
fn canonical(text: &str) -> Option<String> {
    let parsed = parse_files(&[("object.yaml".into(), text.to_owned())]);
    // Mistakes between objects are none of one alone: what it refers to is not here.
    match parsed.objects.as_slice() {
        [one] => one.object.to_yaml().ok(),
        _ => None,
    }
}

/// Takes out the first empty field after `kept` others, inner ones first; `false`: there is none. Items of lists stay: each
/// counts, also an empty one.
fn drop_first(value: &mut Value, kept: &mut usize) -> bool {
    match value {
        Value::Mapping(fields) => {
            fields.iter_mut().any(|(_, field)| drop_first(field, kept)) || drop_empty(fields, kept)
        }
        Value::Sequence(items) => items.iter_mut().any(|item| drop_first(item, kept)),
        _ => false,
    }
}

fn drop_empty(fields: &mut Mapping, kept: &mut usize) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Mapping(fields) => fields.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        _ => false,
    };
    let names = fields.iter().filter(|(_, value)| is_empty(value));
    let names: Vec<Value> = names.map(|(name, _)| name.clone()).collect();
    match names.get(*kept) {
        Some(name) => {
            // In order: what people read stays as they wrote it.
            fields.shift_remove(name);
            true
        }
        None => {
            *kept = kept.saturating_sub(names.len());
            false
        }
    }
}

#[cfg(test)]
mod tests;
