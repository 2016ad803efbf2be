//! Objects as the Kubernetes API has them: what is written in them, and what its server keeps beside.
//!
//! A field that nobody here knows is only warned of: the API server has checked the object by its own schema, and Gateway
//! API's objects are for others, too, with fields of versions to come. In a file it is a slip of the pen, and an error.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Located, Parsed,
    files::{append, finish, parse_file},
    report::Report,
};
use crate::kind::{Choice as _, Kind};

/// Of `metadata`, what people write. The rest is the server's: `uid`, `resourceVersion`, `managedFields`, …
const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// Where `kubectl apply` remembers the whole object; it says nothing about it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What of an object was written by somebody: without `status`, and without what the API server keeps in `metadata`.
pub fn written(object: &Value) -> Value {
    let Value::Object(fields) = object else {
        return object.clone();
    };
    let kept = fields.iter().filter(|(name, _)| *name != "status");
    let kept = kept.map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("metadata", Value::Object(metadata)) => Value::Object(of_people(metadata)),
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    Value::Object(kept.collect())
}

fn of_people(metadata: &Map<String, Value>) -> Map<String, Value> {
    let kept = METADATA.iter().filter_map(|name| {
        let mut value = metadata.get(*name)?.clone();
        if let (&"annotations", Value::Object(annotations)) = (name, &mut value) {
            annotations.remove(LAST_APPLIED);
        }
        Some(((*name).to_owned(), value))
    });
    kept.collect()
}

/// Reads one object of the API, and holds it against `known` ones, as they would all be one configuration; of these nothing is
/// parsed again, and one of the same name has to be left out by the caller. `file` names the object in [`super::Mistake::file`].
/// Total: whatever the object holds, the answer says what is wrong.
pub fn parse_object(known: Vec<Arc<Located>>, file: &Path, object: &Value) -> Parsed {
    let mut parsed = Parsed {
        objects: known,
        ..Parsed::default()
    };
    // JSON is YAML, and on one line no string of it begins a document.
    let text = written(object).to_string();
    parse_file(file, &text, Report::passing_unknown, &mut parsed);
    finish(parsed)
}

/// Where all names of [`api_file`] begin.
pub const API_FOLDER: &str = "api";

/// How an object of a cluster's API is named in the place of a file: `api/HTTPRoute/bank/account`. No file of a directory is
/// named so: each has an ending.
pub fn api_file(kind: Kind, namespace: &str, name: &str) -> PathBuf {
    [API_FOLDER, kind.word(), namespace, name].iter().collect()
}

/// Whether it is such a name. What runs in a cluster is not written in it: a Service there need not select a Workload.
pub fn is_api_file(file: &Path) -> bool {
    file.starts_with(API_FOLDER) && file.extension().is_none()
}

/// What one object of the API says, whatever others say; [`together`] holds it against them. Where in its text something stands
/// is told, the text itself is not kept. Total, as [`parse_object`].
pub fn parse_alone(file: &Path, object: &Value) -> Parsed {
    let mut parsed = Parsed::default();
    let text = written(object).to_string();
    parse_file(file, &text, Report::passing_unknown, &mut parsed);
    parsed.sources.clear();
    parsed
}

/// All of these as one configuration, in this order, held against each other.
pub fn together<'p>(all: impl IntoIterator<Item = &'p Parsed>) -> Parsed {
    let (mut parsed, mut sources) = (Parsed::default(), Vec::new());
    for one in all {
        append(&mut parsed, one);
        let texts = one.sources.iter();
        sources.extend(texts.map(|(path, text)| (path.clone(), text.clone())));
    }
    parsed.sources = sources.into_iter().collect();
    finish(parsed)
}

#[cfg(test)]
mod tests;
