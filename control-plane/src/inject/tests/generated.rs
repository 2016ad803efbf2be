//! Manifests of all kinds, made up.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, json};

use super::*;

fn port() -> BoxedStrategy<u16> {
    prop_oneof![Just(80), Just(8080), 1000_u16..9999].boxed()
}

fn handler(ports: Vec<u16>) -> BoxedStrategy<Value> {
    let named = (0..ports.len().max(1)).prop_map(move |index| match ports.get(index) {
        Some(_) => json!(format!("p{index}")),
        None => json!(8080),
    });
    let get = (
        option::of(select(vec!["/", "/healthz", "/ready?full=$(YES)", "live"])),
        named.clone(),
    )
        .prop_flat_map(|(path, port)| {
            (
                Just(path),
                Just(port),
                option::of(select(vec!["HTTP", "HTTPS"])),
                any::<bool>(),
            )
        })
        .prop_map(|(path, port, scheme, with_header)| {
            let mut get = Map::new();
            get.insert("port".into(), port);
            get.extend(path.map(|path| ("path".to_owned(), json!(path))));
            get.extend(scheme.map(|scheme| ("scheme".to_owned(), json!(scheme))));
            if with_header {
                let header = json!([{"name": "X-Probe", "value": "it's \"quoted\""}]);
                get.insert("httpHeaders".into(), header);
            }
            json!({"httpGet": get})
        });
    prop_oneof![
        get,
        named.prop_map(|port| json!({"tcpSocket": {"port": port}})),
        port().prop_map(|port| json!({"grpc": {"port": port}})),
        Just(json!({"exec": {"command": ["true"]}})),
        Just(json!({"httpGet": {"host": "10.0.0.1", "port": 80}})),
    ]
    .boxed()
}

fn probe(ports: Vec<u16>) -> BoxedStrategy<Value> {
    (handler(ports), option::of(1..9_u32))
        .prop_map(|(mut probe, seconds)| {
            if let Some(seconds) = seconds {
                probe["timeoutSeconds"] = json!(seconds);
            }
            probe
        })
        .boxed()
}

fn hook(ports: Vec<u16>) -> BoxedStrategy<Value> {
    let sleep = Just(json!({"sleep": {"seconds": 3}}));
    let asked = handler(ports).prop_filter("no gRPC hooks", |hook| hook["grpc"].is_null());
    prop_oneof![asked, sleep].boxed()
}

fn container(name: String, is_init: bool) -> BoxedStrategy<Value> {
    let parts = vec(port(), 0..3).prop_flat_map(|ports| {
        (
            Just(ports.clone()),
            option::of(probe(ports.clone())),
            option::of(probe(ports.clone())),
            option::of(hook(ports)),
            option::of(select(vec![
                "a: b",
                "yes",
                "0644",
                "$(HOME)",
                "#",
                "line\nline",
                "ü",
            ])),
            any::<[bool; 3]>(),
        )
    });
    parts
        .prop_map(
            move |(ports, liveness, readiness, hook, text, [mounts, user, http])| {
                let mut container =
                    json!({"name": name, "image": "a/b:1", "command": ["run", "--now"]});
                if let Some(text) = text {
                    container["env"] = json!([{"name": "TEXT", "value": text}]);
                }
                if http {
                    container["env"] = json!([{"name": "http_proxy", "value": "http://own:3128"}]);
                }
                if mounts {
                    container["volumeMounts"] = json!([{"name": "own", "mountPath": "/own"}]);
                }
                if user {
                    container["securityContext"] = json!({"runAsUser": 1000});
                }
                if !is_init {
                    let named = ports.iter().enumerate();
                    let named = named.map(
                        |(index, port)| json!({"name": format!("p{index}"), "containerPort": port}),
                    );
                    let named: Vec<Value> = named.collect();
                    if !named.is_empty() {
                        container["ports"] = json!(named);
                    }
                    if let Some(probe) = liveness {
                        container["livenessProbe"] = probe;
                    }
                    if let Some(probe) = readiness {
                        container["readinessProbe"] = probe;
                    }
                    if let Some(hook) = hook {
                        container["lifecycle"] = json!({"preStop": hook});
                    }
                }
                container
            },
        )
        .boxed()
}

fn template() -> BoxedStrategy<Value> {
    let main = (1..4_usize).prop_flat_map(|count| {
        let all = (0..count).map(|index| container(format!("c{index}"), false));
        all.collect::<Vec<BoxedStrategy<Value>>>()
    });
    let annotation = select(vec![
        ("usher.dev/cpu-limit", "250m"),
        ("usher.dev/exclude-outbound-cidrs", "10.96.0.1"),
        ("usher.dev/rewrite-probes", "false"),
        ("usher.dev/mode", "explicit"),
        ("usher.dev/log-level", "debug"),
        ("prometheus.io/port", "9999"),
        ("note", "a: b # c"),
    ]);
    let metadata = (vec(annotation, 0..2), any::<bool>());
    let init = option::of(container("prepare".into(), true));
    (main, init, metadata, option::of(20..99_u32))
        .prop_map(|(main, init, (annotations, labels), grace)| {
            let mut spec =
                json!({"containers": main, "volumes": [{"name": "own", "emptyDir": {}}]});
            if let Some(init) = init {
                spec["initContainers"] = json!([init]);
            }
            if let Some(grace) = grace {
                spec["terminationGracePeriodSeconds"] = json!(grace);
            }
            let mut metadata = Map::new();
            if labels {
                metadata.insert("labels".into(), json!({"app": "web"}));
            }
            if !annotations.is_empty() {
                let all = annotations
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), json!(value)));
                metadata.insert("annotations".into(), Value::Object(all.collect()));
            }
            let mut template = json!({"spec": spec});
            if !metadata.is_empty() {
                template["metadata"] = metadata.into();
            }
            template
        })
        .boxed()
}

fn object() -> BoxedStrategy<Value> {
    let kinds = vec![
        "Pod",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Job",
        "CronJob",
    ];
    (select(kinds), template(), any::<bool>()).prop_map(|(kind, mut template, fails)| {
        let selector = json!({"matchLabels": {"app": "web"}});
        let metadata = json!({"name": "web", "namespace": "shop"});
        if matches!(kind, "Job" | "CronJob") {
            template["spec"]["restartPolicy"] = json!(if fails { "Never" } else { "OnFailure" });
        }
        match kind {
            "Pod" => {
                template["metadata"]["name"] = json!("web");
                template["apiVersion"] = json!("v1");
                template["kind"] = json!("Pod");
                template
            }
            "Job" => json!({"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}}),
            "CronJob" => json!({"apiVersion": "batch/v1", "kind": kind, "metadata": metadata,
                "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}}),
            _ => {
                let mut spec = json!({"selector": selector, "template": template});
                if kind == "StatefulSet" {
                    spec["serviceName"] = json!("web");
                }
                json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
            }
        }
    }).boxed()
}

/// A manifest's text, in blocks or in braces.
fn manifest() -> BoxedStrategy<(String, Vec<Value>)> {
    let list = vec(object(), 1..3)
        .prop_map(|items| json!({"apiVersion": "v1", "kind": "List", "items": items}));
    let document = prop_oneof![3 => object(), 1 => list];
    vec((document, 0..3_u8), 1..3)
        .prop_map(|documents| {
            let mut text = String::new();
            for (document, style) in &documents {
                text.push_str("---\n# a comment\n");
                text.push_str(&match style {
                    0 => serde_yaml::to_string(document).unwrap(),
                    1 => format!("{document:#}\n"),
                    _ => format!("{document}\n"),
                });
            }
            (
                text,
                documents
                    .into_iter()
                    .map(|(document, _)| document)
                    .collect(),
            )
        })
        .boxed()
}

fn any_settings() -> BoxedStrategy<Settings> {
    (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(native, transparent, token)| Settings {
            style: if native {
                Style::Native
            } else {
                Style::Ordered
            },
            mode: if transparent {
                Mode::Transparent
            } else {
                Mode::Explicit
            },
            proof: match token {
                true => Proof::JoinToken {
                    secret: "join".parse().unwrap(),
                },
                false => Proof::ServiceAccount,
            },
            ..settings()
        })
        .boxed()
}

/// An annotation about interception in explicit mode is refused, and rightly.
fn is_meant(changed: &Changed) -> bool {
    changed
        .complaints
        .iter()
        .all(|complaint| !complaint.found.contains("in explicit mode"))
}

/// As JSON, without collections that are empty.
fn sense(value: &Value) -> Value {
    let is_empty = |value: &Value| value == &json!({}) || value == &json!([]);
    match value {
        Value::Object(all) => {
            let all = all.iter().map(|(key, value)| (key.clone(), sense(value)));
            let kept = all.filter(|(key, value)| !is_empty(value) || key == "emptyDir");
            Value::Object(kept.collect())
        }
        Value::Array(all) => all.iter().map(sense).collect(),
        _ => value.clone(),
    }
}

fn documents_of(text: &str) -> Vec<Value> {
    let documents = yaml::documents(text);
    documents
        .iter()
        .map(|document| json(document.text))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn twice_is_once_and_out_again_is_as_it_was((text, documents) in manifest(), settings in any_settings()) {
        let once = change(&text, Wish::Inject(&settings));
        prop_assume!(is_meant(&once));
        prop_assert_eq!(&once.complaints, &[], "{}", &text);
        let twice = change(&once.text, Wish::Inject(&settings));
        prop_assert_eq!(&twice.text, &once.text);
        for (object, before) in documents_of(&once.text).iter().zip(&documents) {
            shape::check(object);
            prop_assert_ne!(object, before);
        }
        let out = uninjected(&once.text);
        let out: Vec<Value> = documents_of(&out).iter().map(sense).collect();
        let before: Vec<Value> = documents.iter().map(sense).collect();
        prop_assert_eq!(out, before, "{}", &once.text);
        prop_assert_eq!(uninjected(&text), text);
    }

    #[test]
    fn a_patch_does_what_the_text_says(before in object(), settings in any_settings()) {
        let text = serde_yaml::to_string(&before).unwrap();
        let changed = change(&text, Wish::Inject(&settings));
        prop_assume!(is_meant(&changed));
        let (operations, _) = patch(&before, &settings);
        let mut patched = before.clone();
        for operation in &operations {
            apply_one(&mut patched, operation);
        }
        prop_assert_eq!(patched, json(&changed.text));
    }
}

fn apply_one(object: &mut Value, operation: &Operation) {
    let (Operation::Add { path, .. }
    | Operation::Remove { path }
    | Operation::Replace { path, .. }) = operation;
    let (parent, key) = path.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    let parent = object.pointer_mut(parent).unwrap();
    match (parent, operation) {
        (Value::Object(all), Operation::Add { value, .. }) => {
            assert!(all.insert(key, value.clone()).is_none())
        }
        (Value::Object(all), Operation::Replace { value, .. }) => {
            assert!(all.insert(key, value.clone()).is_some())
        }
        (Value::Object(all), Operation::Remove { .. }) => assert!(all.remove(&key).is_some()),
        (Value::Array(all), Operation::Add { value, .. }) => {
            all.insert(key.parse().unwrap(), value.clone())
        }
        (Value::Array(all), Operation::Remove { .. }) => drop(all.remove(key.parse().unwrap())),
        (Value::Array(all), Operation::Replace { value, .. }) => {
            all[key.parse::<usize>().unwrap()] = value.clone()
        }
        (other, _) => panic!("{path}: {other}"),
    }
}
