//! Any configuration becomes one with our roots, by a patch that does nothing else; and then there is nothing to do.

use super::*;

fn bundle(version: u64, roots: &[&str]) -> Bundle {
    let roots = roots
        .iter()
        .map(|root| format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n"));
    Bundle {
        version,
        roots: roots.collect(),
    }
}

fn configuration() -> Value {
    json!({
        "metadata": {"name": "usher", "resourceVersion": "7"},
        "webhooks": [
            {"name": "a", "clientConfig": {"service": {"name": "usher"}}, "failurePolicy": "Fail"},
            {"name": "b", "clientConfig": {"url": "https://usher", "caBundle": ""}},
        ],
    })
}

fn applied(mut configuration: Value, operations: Vec<Value>) -> Value {
    let patch: json_patch::Patch =
        serde_json::from_value(Value::from(operations)).expect("RFC 6902");
    json_patch::patch(&mut configuration, &patch).expect("fits");
    configuration
}

#[test]
fn each_webhook_gets_the_roots_and_nothing_else_changes() {
    let ours = bundle(3, &["A", "B"]);
    let operations = patch(&configuration(), &ours).expect("something to do");
    let mut found = applied(configuration(), operations);
    assert_eq!(patch(&found, &ours), None);
    let encoded = STANDARD.encode(&ours.roots);
    for index in 0..2 {
        let mut client = found["webhooks"][index]["clientConfig"].take();
        assert_eq!(client["caBundle"], encoded);
        client.as_object_mut().expect("fields").remove("caBundle");
        found["webhooks"][index]["clientConfig"] = client;
    }
    let mut meant = configuration();
    meant["metadata"]["annotations"] = json!({VERSION: "3"});
    meant["webhooks"][1]["clientConfig"] = json!({"url": "https://usher"});
    assert_eq!(found, meant);
}

#[test]
fn what_somebody_empties_comes_back() {
    let ours = bundle(3, &["A"]);
    let operations = patch(&configuration(), &ours).expect("something to do");
    let whole = applied(configuration(), operations);
    let mut emptied = whole.clone();
    emptied["webhooks"][0]["clientConfig"]["caBundle"] = json!("");
    let operations = patch(&emptied, &ours).expect("something to do");
    assert!(
        operations
            .iter()
            .all(|one| !one["path"].as_str().expect("text").contains("/webhooks/1"))
    );
    assert_eq!(applied(emptied, operations), whole);
    let mut unmarked = whole.clone();
    unmarked["metadata"]["annotations"] = json!({"other": "x"});
    let operations = patch(&unmarked, &ours).expect("something to do");
    assert_eq!(
        applied(unmarked, operations)["metadata"]["annotations"],
        json!({"other": "x", VERSION: "3"})
    );
}

#[test]
fn a_patch_fits_only_what_it_was_made_for() {
    let ours = bundle(3, &["A"]);
    let operations = patch(&configuration(), &ours).expect("something to do");
    let patch: json_patch::Patch =
        serde_json::from_value(Value::from(operations)).expect("RFC 6902");
    let mut later = configuration();
    later["metadata"]["resourceVersion"] = json!("8");
    assert!(json_patch::patch(&mut later, &patch).is_err());
    let mut moved = configuration();
    moved["webhooks"].as_array_mut().expect("a list").swap(0, 1);
    assert!(json_patch::patch(&mut moved, &patch).is_err());
}

#[test]
fn who_knows_older_roots_leaves_newer_ones_alone_unless_he_could_not_be_believed() {
    let (older, newer) = (bundle(3, &["A"]), bundle(4, &["B", "A"]));
    let operations = patch(&configuration(), &newer).expect("something to do");
    let found = applied(configuration(), operations);
    assert_eq!(patch(&found, &older), None);
    // Another mesh's, of which a number was left: nobody could prove to be us.
    let stranger = bundle(1, &["C"]);
    let operations = patch(&found, &stranger).expect("something to do");
    assert_eq!(patch(&applied(found, operations), &stranger), None);
}

#[test]
fn what_has_no_webhooks_needs_nothing() {
    for nothing in [json!({}), json!({"webhooks": []}), json!({"webhooks": "x"})] {
        let made = patch(&nothing, &bundle(1, &["A"]));
        let touches = made.is_some_and(|all| all.iter().any(|one| one["op"] == "test"));
        assert!(!touches, "{nothing}");
    }
}
