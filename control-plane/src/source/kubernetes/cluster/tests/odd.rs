//! Whatever an object holds, something is made of it, and nothing panics.

use proptest::prelude::*;

use super::*;

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9./-]{0,70}".prop_map(Value::from),
        Just(json!("10.0.0.1")),
        Just(json!("account")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let field = prop_oneof![
            Just("name".to_owned()),
            Just("addresses".to_owned()),
            Just("env".to_owned()),
            Just("port".to_owned()),
            "[a-z]{1,8}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field, inner, 0..4)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Ways into an object, each to be something else.
const WAYS: [&str; 16] = [
    "/metadata",
    "/metadata/labels",
    "/spec",
    "/spec/initContainers",
    "/spec/initContainers/0",
    "/spec/initContainers/0/env",
    "/spec/initContainers/0/env/0/value",
    "/spec/serviceAccountName",
    "/status/podIP",
    "/spec/ports",
    "/spec/ports/0",
    "/spec/selector",
    "/endpoints",
    "/endpoints/0/addresses",
    "/endpoints/0/conditions",
    "/ports/0/port",
];

proptest! {
    #[test]
    fn odd_objects_are_taken_as_far_as_they_go(way in 0..WAYS.len(), value in json_value()) {
        let mut objects = bank();
        objects.push((Watched::Documents(Kind::HttpRoute), vec![json!({
            "metadata": {"name": "r", "namespace": "bank"}, "spec": {"parentRefs": [], "rules": []},
        })]));
        let mut cluster = Cluster::default();
        for (watched, mut objects) in objects {
            for object in &mut objects {
                if let Some(place) = object.pointer_mut(WAYS[way]) {
                    *place = value.clone();
                }
            }
            objects.retain(|object| name_of(object).is_some());
            cluster.list(watched, &objects);
        }
        cluster.list_the_rest();
        let mut heard = Heard::default();
        heard.hear(&mut cluster);
        // What is said can be kept: a store reads what it has written.
        for located in &heard.parsed.objects {
            let text = located.object.to_yaml().expect("a text");
            let again = usher_config::parse::parse_files(&[("a.yaml".into(), text.clone())]);
            let read = again.objects.first().map(|one| &one.object);
            prop_assert_eq!(read, Some(&located.object), "{}", text);
        }
    }
}
