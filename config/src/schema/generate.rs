//! Writes the schema from the structs that `parse` fills, doc comments included.
//!
//! Only tests are built with this: whoever uses Usher reads the checked-in file, and does not build a generator first.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::kind::{
    AccessPolicySpec, AuthenticationPolicySpec, BackendTlsPolicySpec, Choice, ConfigMapSpec,
    EndpointSliceSpec, FaultPolicySpec, GatewaySpec, GrpcRouteSpec, HttpRouteSpec, Kind, MeshSpec,
    Metadata, RateLimitPolicySpec, ReferenceGrantSpec, ServiceSpec, TcpRouteSpec, TlsRouteSpec,
    TrafficPolicySpec, WorkloadSpec,
};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// One schema per kind, by the kind's name as written in YAML.
pub(super) fn schemas() -> BTreeMap<&'static str, Value> {
    Kind::ALL
        .iter()
        .map(|(name, kind)| (*name, schema(*kind)))
        .collect()
}

/// One schema for files that hold any kind, which is how editors are set up: `kind` picks the rest.
pub(super) fn combined() -> Value {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|(name, _)| *name).collect();
    let (mut branches, mut definitions) = (Vec::new(), serde_json::Map::new());
    for (name, schema) in schemas() {
        let condition = json!({ "properties": { "kind": { "const": name } } });
        branches.push(json!({ "if": condition, "then": { "$ref": format!("#/$defs/{name}") } }));
        definitions.insert(name.to_owned(), nested(schema, name));
    }
    json!({
        "$schema": DIALECT,
        "title": "Usher",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": { "kind": { "enum": kinds } },
        "allOf": branches,
        "$defs": definitions,
    })
}

fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Mesh => object::<MeshSpec>(kind),
        Kind::Service => object::<ServiceSpec>(kind),
        Kind::Workload => object::<WorkloadSpec>(kind),
        Kind::EndpointSlice => bare::<EndpointSliceSpec>(kind),
        Kind::ConfigMap => bare::<ConfigMapSpec>(kind),
        Kind::Gateway => object::<GatewaySpec>(kind),
        Kind::HttpRoute => object::<HttpRouteSpec>(kind),
        Kind::GrpcRoute => object::<GrpcRouteSpec>(kind),
        Kind::ReferenceGrant => object::<ReferenceGrantSpec>(kind),
        Kind::TlsRoute => object::<TlsRouteSpec>(kind),
        Kind::TcpRoute => object::<TcpRouteSpec>(kind),
        Kind::BackendTlsPolicy => object::<BackendTlsPolicySpec>(kind),
        Kind::TrafficPolicy => object::<TrafficPolicySpec>(kind),
        Kind::AccessPolicy => object::<AccessPolicySpec>(kind),
        Kind::AuthenticationPolicy => object::<AuthenticationPolicySpec>(kind),
        Kind::FaultPolicy => object::<FaultPolicySpec>(kind),
        Kind::RateLimitPolicy => object::<RateLimitPolicySpec>(kind),
    }
}

fn object<Spec: JsonSchema>(kind: Kind) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let (metadata, spec) = (
        generator.subschema_for::<Metadata>(),
        generator.subschema_for::<Spec>(),
    );
    json!({
        "$schema": DIALECT,
        "title": kind.word(),
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "enum": kind.api_versions() },
            "kind": { "const": kind.word() },
            "metadata": metadata,
            "spec": spec,
        },
        "$defs": generator.take_definitions(true),
    })
}

/// One whose fields stand beside its metadata.
fn bare<Rest: JsonSchema>(kind: Kind) -> Value {
    let mut schema = object::<Rest>(kind);
    let rest = format!("#/$defs/{}", Rest::schema_name());
    let definitions = schema.pointer_mut("/$defs").and_then(Value::as_object_mut);
    let named = definitions.and_then(|all| all.remove(rest.rsplit('/').next()?));
    let Some(Value::Object(rest)) = named else {
        return schema;
    };
    if let Some(fields) = schema.as_object_mut() {
        let more = rest.get("required").and_then(Value::as_array).cloned();
        if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|field| field != "spec");
            required.extend(more.unwrap_or_default());
        }
        if let Some(known) = fields.get_mut("properties").and_then(Value::as_object_mut) {
            known.remove("spec");
            let own = rest.get("properties").and_then(Value::as_object).cloned();
            known.extend(own.unwrap_or_default());
        }
    }
    schema
}

/// The schema as a definition of another: its own definitions are found below its new place.
fn nested(mut schema: Value, name: &str) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    repoint(&mut schema, &format!("#/$defs/{name}/$defs/"));
    schema
}

fn repoint(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                match field {
                    Value::String(text) if key == "$ref" => {
                        *text = text.replacen("#/$defs/", prefix, 1)
                    }
                    _ => repoint(field, prefix),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| repoint(item, prefix)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
