//! `openapi.json` says what the routes answer: made here from the types, compared with the file that is served.
//!
//! `UPDATE=1 cargo test -p usher-control-plane openapi` writes it anew.

use std::{collections::BTreeMap, path::Path};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    registry::rest::{Deregistered, GrantedLease, LEASE_HEADER, RegisterInstance, RenewInstance},
    status::{
        CallerReport, ChangeReport, InstanceReport, ObjectReport, RevisionStatus, ServiceReport,
        StatusReport,
    },
};

/// Collects what is referred to.
struct Schemas(schemars::SchemaGenerator);

impl Schemas {
    fn of<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }
}

fn answer(what: &str, media_type: &str, schema: &Value) -> Value {
    json!({ "description": what, "content": { (media_type): { "schema": schema } } })
}

fn refusal(why: &str) -> Value {
    answer(why, "text/plain", &json!({ "type": "string" }))
}

fn query(name: &str, what: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": what, "schema": schema })
}

fn filters() -> Value {
    let text = json!({ "type": "string" });
    json!([
        query("namespace", "Only this namespace", &text),
        query("service", "Only services of this name", &text),
        query("zone", "Only instances in this zone", &text),
        query(
            "healthy",
            "Only instances that are well, or only those that are not",
            &json!({ "type": "boolean" })
        ),
    ])
}

fn which_objects() -> Value {
    let text = json!({ "type": "string" });
    json!([
        query("kind", "Only this kind, as `HTTPRoute`", &text),
        query("namespace", "Only this namespace", &text),
        query("name", "Only objects of this name", &text),
    ])
}

fn paths(schemas: &mut Schemas) -> Value {
    let json = "application/json";
    let get = |id: &str, summary: &str, parameters: &Value, responses: &Value| {
        json!({ "get": {
            "operationId": id, "summary": summary, "parameters": parameters, "responses": responses
        } })
    };
    let none = json!([]);
    let of_path = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let wrong_query = refusal("A parameter that there is not, or of another type");
    let events = "One `change` event for each service and instance that there is (its data is a ChangeReport), then `synced`; \
                  afterwards one for each that comes, changes or goes. A reader that is slow skips what it missed. `ended` has \
                  the `reason`: watch again";
    let change = schemas.of::<ChangeReport>();
    json!({
        "/v1/status": get("status", "Everything: configuration, services, sidecars", &none, &json!({
            "200": answer("As `usher status --json`", json, &schemas.of::<StatusReport>())
        })),
        "/v1/objects": get("objects", "What became of each object of the configuration", &which_objects(), &json!({
            "200": answer("By kind, namespace and name", json, &schemas.of::<Vec<ObjectReport>>()),
            "400": wrong_query
        })),
        "/v1/objects/{kind}/{namespace}/{name}": get(
            "object", "The version of one that is in force", &json!([of_path("kind"), of_path("namespace"), of_path("name")]), &json!({
                "200": answer("It, as canonical YAML", "application/yaml", &json!({ "type": "string" })),
                "400": refusal("There is no such kind"),
                "404": refusal("None of that name is in force")
            })),
        "/v1/services": get("services", "All services with their instances, and workloads that only call", &none, &json!({
            "200": answer("By namespace and name", json, &schemas.of::<Vec<ServiceReport>>())
        })),
        "/v1/services/{namespace}/{name}": get(
            "service", "One of them", &json!([of_path("namespace"), of_path("name")]), &json!({
                "200": answer("It", json, &schemas.of::<ServiceReport>()),
                "404": refusal("There is none of that name")
            })),
        "/v1/instances": get("instances", "Registered instances", &filters(), &json!({
            "200": answer("By namespace, service and name", json, &schemas.of::<Vec<InstanceReport>>()),
            "400": wrong_query
        })),
        "/v1/watch": get("watch", "What there is, and then what changes, as server-sent events", &filters(), &json!({
            "200": answer(events, "text/event-stream", &change),
            "400": wrong_query,
            "429": refusal("As many watch already from this address as may; over loopback: from this machine"),
            "503": refusal("Too many watch already")
        })),
        "/v1/callers": get("callers", "Who calls services without the mesh's TLS", &none, &json!({
            "200": answer("By service, who was seen last first", json, &schemas.of::<Vec<CallerReport>>())
        })),
        "/v1/revisions": get("revisions", "Accepted configurations, newest first", &none, &json!({
            "200": answer("At most 100", json, &schemas.of::<Vec<RevisionStatus>>())
        })),
        "/metrics": get("metrics", "Prometheus' text format", &none, &json!({
            "200": refusal("All metrics")
        })),
        "/healthz": get("healthz", "Whether it answers", &none, &json!({ "200": refusal("`ok`") })),
    })
}

/// What is written, on the port for sidecars.
fn writing(schemas: &mut Schemas, paths: &mut Value) {
    let json = "application/json";
    let servers = json!([{
        "url": "https://127.0.0.1:15012",
        "description": "HTTP/2 over mutual TLS, with an SVID of the service"
    }]);
    let refusals = [
        ("400", "Not understood"),
        ("401", "No SVID was shown"),
        (
            "403",
            "Configuration does not let this identity be the service",
        ),
    ];
    let operation = |id: &str, summary: &str, body: Option<Value>, answers: &[(&str, Value)]| {
        let refusals = refusals.iter().map(|(status, why)| (*status, refusal(why)));
        let responses: BTreeMap<&str, Value> = answers.iter().cloned().chain(refusals).collect();
        let mut operation = json!({
            "operationId": id, "summary": summary, "servers": servers, "responses": responses
        });
        if let Some(schema) = body {
            operation["requestBody"] =
                json!({ "required": true, "content": { (json): { "schema": schema } } });
        }
        operation
    };
    let gone = ("404", refusal("The lease is gone: register again"));
    let lease = answer("A lease", json, &schemas.of::<GrantedLease>());
    let taken = refusal("The name is held by another identity");
    let register = schemas.of::<RegisterInstance>();
    paths["/v1/instances"]["post"] = operation(
        "register",
        "Register an instance",
        Some(register),
        &[("201", lease.clone()), ("409", taken)],
    );
    let renew = schemas.of::<RenewInstance>();
    let renew = operation(
        "renew",
        "Prolong its lease",
        Some(renew),
        &[("200", lease), gone.clone()],
    );
    let end = answer("It is gone", json, &schemas.of::<Deregistered>());
    let summary = "Leave; answers when every caller has dropped it, or after waitMs";
    let mut end = operation("deregister", summary, None, &[("200", end), gone]);
    let wait = json!({ "type": "integer", "minimum": 0, "maximum": 60000 });
    end["parameters"] = json!([query(
        "waitMs",
        "How long to wait for callers, in milliseconds",
        &wait
    )]);
    let text = json!({ "type": "string" });
    let of_path = ["namespace", "service", "instance"]
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }));
    let header = json!({
        "name": LEASE_HEADER, "in": "header", "required": true, "schema": text,
        "description": "The lease that registering gave"
    });
    let parameters: Vec<Value> = of_path.into_iter().chain([header]).collect();
    paths["/v1/instances/{namespace}/{service}/{instance}"] =
        json!({ "parameters": parameters, "put": renew, "delete": end });
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut schemas = Schemas(settings.into_generator());
    let mut paths = paths(&mut schemas);
    writing(&mut schemas, &mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher control plane",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "What is registered in the mesh, for reading. Writing is for who has an identity, over mutual TLS \
                            on the port for sidecars, where usher.v1.Registry takes the same. On loopback reading is for \
                            requests to IP addresses and localhost only."
        },
        "servers": [{ "url": "http://127.0.0.1:15010" }],
        "paths": paths,
        "components": { "schemas": schemas.0.take_definitions(true) },
    })
}

#[test]
fn openapi_json_says_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/rest/openapi.json");
    let made = format!("{:#}\n", document());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).expect("there");
    assert!(
        made == kept,
        "openapi.json is old: UPDATE=1 cargo test -p usher-control-plane openapi"
    );
}

#[test]
fn every_reference_leads_somewhere_and_every_route_is_there() {
    let document = document();
    let text = document.to_string();
    let references = text.split("\"$ref\":\"#").skip(1);
    let mut count = 0;
    for reference in references {
        let pointer = reference.split('"').next().expect("ends");
        assert!(document.pointer(pointer).is_some(), "{pointer}");
        count += 1;
    }
    assert!(count > 5, "{count}");
    let routes = include_str!("../../rest.rs").lines();
    let routes = routes.filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next());
    for route in routes.filter(|route| *route != "/openapi.json") {
        assert!(
            !document["paths"][route].is_null(),
            "{route} is not described"
        );
    }
}
