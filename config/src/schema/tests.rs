//! Facts about the schemas, and that the checked-in one is what the structs say:
//! `UPDATE=1 cargo nextest run --workspace -E 'test(schema::)'` rewrites it.

use std::path::Path;

use serde_json::Value;

use super::{
    COMBINED,
    generate::{combined, schemas},
};

#[test]
fn the_checked_in_schema_is_what_the_structs_say() {
    let fresh = combined();
    if std::env::var_os("UPDATE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/usher.json");
        let text = serde_json::to_string_pretty(&fresh).unwrap() + "\n";
        std::fs::write(path, text).unwrap();
        return;
    }
    assert!(
        fresh == serde_json::from_str::<Value>(COMBINED).unwrap(),
        "schema/usher.json is not up to date: run this test with UPDATE=1"
    );
}

#[test]
fn every_kind_has_a_schema_that_describes_its_fields() {
    let schemas = schemas();
    assert_eq!(schemas.len(), 17);
    let text = schemas["TrafficPolicy"].to_string();
    for word in [
        "halfOpenPermits",
        "idempotencyHeader",
        "PeakEwma",
        "Default 15 s",
        "backendRef",
    ] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn every_reference_inside_a_schema_leads_somewhere() {
    let mut all = schemas();
    all.insert("combined", combined());
    for (name, schema) in &all {
        for reference in references(schema) {
            let pointer = reference.trim_start_matches('#');
            assert!(schema.pointer(pointer).is_some(), "{name}: {reference}");
        }
    }
}

#[test]
fn fields_with_a_default_are_not_required() {
    let schemas = schemas();
    let required = |kind: &str, definition: &str| {
        schemas[kind]["$defs"][definition]["required"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        required("TrafficPolicy", "TrafficPolicySpec"),
        ["targetRefs"]
    );
    assert_eq!(required("TrafficPolicy", "StaticResponse"), [""; 0]);
    assert_eq!(required("HTTPRoute", "HTTPBackendRef"), ["name", "port"]);
    assert_eq!(required("HTTPRoute", "PathMatch"), [""; 0]);
    assert_eq!(required("Service", "Metadata"), ["name"]);
    assert_eq!(required("Workload", "WorkloadSpec"), ["serviceAccount"]);
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, field)| match field {
                Value::String(text) if key == "$ref" => vec![text.clone()],
                _ => references(field),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
