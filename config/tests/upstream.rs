//! Our Gateway and routes are Gateway API's: no field of ours is unknown upstream or of another type, and every
//! field upstream is ours, or named here as one of a later version.
//!
//! `upstream/*.json` is `spec` of the experimental channel's CRDs (the standard one lacks `retry`), as openAPI without
//! descriptions, from the structs of the crate `gateway-api` 0.22 (Apache-2.0), which are generated from the CRDs. The
//! crate itself would bring a Kubernetes client along.

#![allow(
    clippy::expect_used,
    reason = "a test: what is not there is its failure"
)]

use std::collections::BTreeSet;

use serde_json::Value;

/// Refused with a message that says so.
const LATER: [&str; 6] = [
    "spec.useDefaultGateways",
    "spec.rules[].sessionPersistence",
    "spec.rules[].filters[].extensionRef",
    "spec.rules[].filters[].externalAuth",
    "spec.rules[].backendRefs[].filters[].extensionRef",
    "spec.rules[].backendRefs[].filters[].externalAuth",
];

/// The same of a BackendTLSPolicy.
const LATER_OF_BACKENDS: [&str; 1] = ["spec.options"];

/// The same of Gateways and their routes for connections.
const LATER_OF_GATEWAYS: [&str; 6] = [
    "spec.addresses",
    "spec.allowedListeners",
    "spec.defaultScope",
    "spec.infrastructure",
    "spec.tls",
    "spec.listeners[].tls.options",
];

/// The same among the words of closed lists.
const LATER_WORDS: [&str; 2] = ["ExtensionRef", "ExternalAuth"];

/// Required upstream; here it may be left out, as it follows from the kind.
const OPTIONAL: [&str; 1] = ["spec.targetRefs[].group"];

#[test]
fn a_backend_tls_policy_is_upstreams() {
    compare(
        "BackendTLSPolicy",
        include_str!("upstream/backend-tls-policy.json"),
    );
}

#[test]
fn an_http_route_is_upstreams() {
    compare("HTTPRoute", include_str!("upstream/http-route.json"));
}

#[test]
fn a_grpc_route_is_upstreams() {
    compare("GRPCRoute", include_str!("upstream/grpc-route.json"));
}

#[test]
fn a_reference_grant_is_upstreams() {
    compare(
        "ReferenceGrant",
        include_str!("upstream/reference-grant.json"),
    );
}

#[test]
fn a_gateway_is_upstreams() {
    compare("Gateway", include_str!("upstream/gateway.json"));
}

#[test]
fn routes_for_connections_are_upstreams() {
    compare("TLSRoute", include_str!("upstream/tls-route.json"));
    compare("TCPRoute", include_str!("upstream/tcp-route.json"));
}

#[test]
fn fields_of_a_gateway_of_later_versions_are_refused_as_such() {
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec:\n  gatewayClassName: usher\n  \
        addresses: []\n  allowedListeners: {}\n  defaultScope: All\n  infrastructure: {}\n  tls: {}\n  \
        listeners: [{name: a, port: 443, protocol: HTTPS, tls: {options: {a: b}, certificateRefs: [{name: a}]}}]\n";
    let parsed = usher_config::parse::parse_files(&[("a.yaml".into(), gateway.to_owned())]);
    assert_eq!(later(&parsed), LATER_OF_GATEWAYS.map(str::to_owned).into());
}

#[test]
fn fields_of_later_versions_are_refused_as_such() {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec:\n  \
        useDefaultGateways: All\n  parentRefs: [{group: '', kind: Service, name: a}]\n  \
        rules: [{filters: [FILTER], sessionPersistence: {}, backendRefs: [{name: a, port: 1, filters: [FILTER]}]}]\n"
        .replace("FILTER", "{type: CORS, cors: {}, extensionRef: {}, externalAuth: {}}");
    let parsed = usher_config::parse::parse_files(&[("a.yaml".into(), route)]);
    assert_eq!(later(&parsed), LATER.map(str::to_owned).into());
}

fn later(parsed: &usher_config::parse::Parsed) -> BTreeSet<String> {
    let later = parsed.mistakes.iter();
    let later = later.filter(|mistake| mistake.allowed.contains("does not support it yet"));
    later
        .map(|mistake| mistake.field.replace("[0]", "[]"))
        .collect()
}

fn compare(kind: &str, upstream: &str) {
    let upstream: Value = serde_json::from_str(upstream).expect("JSON");
    let schema: Value = serde_json::from_str(usher_config::schema::COMBINED).expect("JSON");
    let mut comparison = Comparison {
        schema: &schema,
        complaints: Vec::new(),
        compared: 0,
    };
    let spec = schema.pointer(&format!("/$defs/{kind}/properties/spec"));
    let spec = spec.expect("a kind, and its spec");
    comparison.node("spec".to_owned(), spec, &upstream);
    assert!(
        comparison.complaints.is_empty(),
        "{:#?}",
        comparison.complaints
    );
    assert!(comparison.compared > 8, "only {}", comparison.compared);
}

struct Comparison<'a> {
    schema: &'a Value,
    complaints: Vec<String>,
    compared: usize,
}

impl<'a> Comparison<'a> {
    fn node(&mut self, path: String, ours: &'a Value, upstream: &Value) {
        self.compared += 1;
        let ours = self.resolved(ours);
        let words = words(ours);
        let (of_ours, of_upstream) = (type_of(ours, &words), upstream["type"].as_str());
        if of_ours != of_upstream {
            self.complain(&path, format!("{of_ours:?}, upstream {of_upstream:?}"));
        }
        if let Some(all) = upstream["enum"].as_array() {
            let all = all.iter().filter_map(Value::as_str);
            let all: BTreeSet<&str> = all.filter(|word| !LATER_WORDS.contains(word)).collect();
            if words != all {
                self.complain(&path, format!("{words:?}, upstream {all:?}"));
            }
        }
        if let Some(items) = upstream.get("items") {
            let own = ours.get("items").unwrap_or(&Value::Null);
            return self.node(format!("{path}[]"), own, items);
        }
        let empty = serde_json::Map::new();
        let fields = |node: &'a Value| node["properties"].as_object();
        let own = fields(ours).unwrap_or(&empty);
        let theirs = upstream["properties"].as_object().unwrap_or(&empty);
        for name in own.keys().filter(|name| !theirs.contains_key(*name)) {
            self.complain(&format!("{path}.{name}"), "unknown upstream".to_owned());
        }
        for (name, theirs) in theirs {
            let path = format!("{path}.{name}");
            match fields(ours).and_then(|fields| fields.get(name)) {
                Some(own) => self.node(path, own, theirs),
                None if LATER.contains(&path.as_str()) => {}
                None if LATER_OF_BACKENDS.contains(&path.as_str()) => {}
                None if LATER_OF_GATEWAYS.contains(&path.as_str()) => {}
                None => self.complain(&path, "not ours, and not named as a later one".to_owned()),
            }
        }
        let required = |node: &Value| -> BTreeSet<String> {
            let names = node["required"].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (own, theirs) = (required(ours), required(upstream));
        let missing = theirs.difference(&own).map(|name| format!("{path}.{name}"));
        for path in missing.filter(|path| !OPTIONAL.contains(&path.as_str())) {
            self.complain(&path, "required upstream".to_owned());
        }
    }

    fn complain(&mut self, path: &str, what: String) {
        self.complaints.push(format!("{path}: {what}"));
    }

    /// Without references and without the "or null" of optional fields.
    fn resolved(&self, node: &'a Value) -> &'a Value {
        if let Some(reference) = node["$ref"].as_str() {
            let target = self.schema.pointer(reference.trim_start_matches('#'));
            return self.resolved(target.expect("leads somewhere"));
        }
        let mut alternatives = node["anyOf"].as_array().into_iter().flatten();
        match alternatives.find(|other| other["type"] != "null") {
            Some(other) => self.resolved(other),
            None => node,
        }
    }
}

/// The words of a closed list.
fn words(node: &Value) -> BTreeSet<&str> {
    let listed = node["enum"].as_array().into_iter().flatten();
    let described = node["oneOf"].as_array().into_iter().flatten();
    listed
        .chain(described.clone().map(|word| &word["const"]))
        .chain(described.flat_map(|word| word["enum"].as_array().into_iter().flatten()))
        .filter_map(Value::as_str)
        .collect()
}

fn type_of<'a>(node: &'a Value, words: &BTreeSet<&str>) -> Option<&'a str> {
    let several = node["type"].as_array().into_iter().flatten();
    let first = several
        .filter_map(Value::as_str)
        .find(|word| *word != "null");
    let word = node["type"].as_str().or(first);
    word.or_else(|| (!words.is_empty()).then_some("string"))
}
