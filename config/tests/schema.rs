//! What editors are told (the JSON Schema) agrees with what is accepted: every example passes it, and a mistake planted
//! anywhere in one does not.

#![allow(
    clippy::expect_used,
    reason = "a test: what is not there is its failure"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use serde::Deserialize as _;
use serde_json::{Value, json};

/// Keys of people's own choosing, where a schema cannot know better.
const FREE: [&str; 4] = ["labels", "annotations", "selector", "data"];

fn examples() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut all = Vec::new();
    for folder in [root.clone(), root.join("quickstart")] {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path: PathBuf = entry.expect("readable").path();
            if path.is_file() {
                let text = fs::read_to_string(&path).expect("readable");
                for document in serde_yaml::Deserializer::from_str(&text) {
                    let value = Value::deserialize(document).expect("YAML");
                    if !value.is_null() {
                        all.push((path.display().to_string(), value));
                    }
                }
            }
        }
    }
    assert!(all.len() > 20, "only {} objects", all.len());
    all
}

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(usher_config::schema::COMBINED).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

#[test]
fn every_example_passes() {
    let validator = validator();
    for (file, object) in examples() {
        let mistakes: Vec<String> = validator
            .iter_errors(&object)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(mistakes.is_empty(), "{file}: {mistakes:#?}");
    }
}

#[test]
fn a_mistake_planted_anywhere_does_not_pass() {
    let validator = validator();
    let (mut planted, mut passed) = (0, Vec::new());
    for (file, object) in examples() {
        let mut places = Vec::new();
        survey(&object, String::new(), &mut places);
        for (pointer, mistake) in places {
            let mut wrong = object.clone();
            let place = wrong.pointer_mut(&pointer).expect("a place in it");
            match mistake {
                Mistake::UnknownField => place["noSuchField"] = json!(1),
                Mistake::OtherType => *place = json!({ "noSuchField": [] }),
            }
            if validator.is_valid(&wrong) {
                passed.push(format!("{file}: {mistake:?} at {pointer}"));
            }
            planted += 1;
        }
        let own = ["spec", "data", "addressType", "ports"];
        let own = own.into_iter().filter(|field| object.get(field).is_some());
        for field in own.chain(["metadata", "apiVersion"]) {
            let mut wrong = object.clone();
            let fields = wrong.as_object_mut().expect("an object");
            fields.remove(field);
            assert!(
                !validator.is_valid(&wrong),
                "{file}: passes without {field}"
            );
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
    assert!(planted > 500, "only {planted}");
}

#[derive(Debug, Clone, Copy)]
enum Mistake {
    UnknownField,
    OtherType,
}

/// Every place in an object, and what can be wrong there.
fn survey(value: &Value, pointer: String, places: &mut Vec<(String, Mistake)>) {
    match value {
        Value::Object(fields) => {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            if !FREE.contains(&name) {
                places.push((pointer.clone(), Mistake::UnknownField));
            }
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                survey(field, format!("{pointer}/{name}"), places);
            }
        }
        Value::Array(items) => {
            places.push((pointer.clone(), Mistake::OtherType));
            for (index, item) in items.iter().enumerate() {
                survey(item, format!("{pointer}/{index}"), places);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            places.push((pointer, Mistake::OtherType));
        }
    }
}
