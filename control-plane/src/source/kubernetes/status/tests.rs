//! What is equal is not written, and what is others' stays.

use proptest::prelude::*;

use super::*;
use crate::status::ConditionStatus;

const NOW: &str = "2026-11-30T15:00:00Z";

fn key(kind: Kind) -> ObjectKey {
    ObjectKey {
        kind,
        namespace: "bank".parse().expect("valid"),
        name: "account".parse().expect("valid"),
    }
}

fn condition(r#type: &str, status: ConditionStatus, message: &str) -> ConditionReport {
    ConditionReport {
        r#type: r#type.to_owned(),
        status,
        reason: "Reason".to_owned(),
        message: message.to_owned(),
        ..ConditionReport::default()
    }
}

fn verdict() -> Verdict {
    Verdict {
        conditions: vec![
            condition("Accepted", ConditionStatus::True, "in force"),
            condition("ResolvedRefs", ConditionStatus::True, "all is there"),
            condition("Programmed", ConditionStatus::True, "2/2"),
        ],
        listeners: Vec::new(),
    }
}

fn resource() -> (String, String) {
    ("example.com/v1".to_owned(), "things".to_owned())
}

fn current<'c>(resource: &'c (String, String), spec: Value, status: Value) -> Current<'c> {
    Current {
        namespace: "bank",
        resource,
        generation: 3,
        version: "77".to_owned(),
        spec,
        status,
    }
}

fn parents() -> Value {
    json!({"parentRefs": [{"group": "", "kind": "Service", "name": "account"}]})
}

/// What the API server has after it.
fn applied(before: &Value, write: &Write) -> Value {
    let mut after = before.clone();
    for (field, value) in write.body["status"].as_object().expect("fields") {
        after[field] = value.clone();
    }
    after
}

#[test]
fn conditions_are_written_once_and_again_only_if_they_are_others() {
    let resource = resource();
    let of = |status: &Value, verdict: &Verdict| {
        let current = current(&resource, json!({}), status.clone());
        write(&key(Kind::AccessPolicy), &current, verdict, NOW)
    };
    let first = of(&json!({}), &verdict()).expect("nothing is there");
    assert_eq!(first.how, How::Apply);
    assert!(first.body["metadata"].get("resourceVersion").is_none());
    let accepted = &first.body["status"]["conditions"][0];
    assert_eq!(
        (
            &accepted["observedGeneration"],
            &accepted["lastTransitionTime"]
        ),
        (&json!(3), &json!(NOW))
    );
    let there = applied(&json!({}), &first);
    assert_eq!(of(&there, &verdict()), None);
    // More proxies run it: the answer is the same.
    let mut counted = verdict();
    counted.conditions[2].message = "3/3".to_owned();
    assert_eq!(of(&there, &counted), None);
    let mut refused = verdict();
    refused.conditions[0].status = ConditionStatus::False;
    let current = current(&resource, json!({}), there);
    let second = write(
        &key(Kind::AccessPolicy),
        &current,
        &refused,
        "2026-12-01T00:00:00Z",
    )
    .expect("another");
    let conditions = &second.body["status"]["conditions"];
    assert_eq!(conditions[0]["lastTransitionTime"], "2026-12-01T00:00:00Z");
    assert_eq!(conditions[1]["lastTransitionTime"], NOW, "it is as it was");
}

#[test]
fn a_warning_that_is_over_is_taken_away() {
    let resource = resource();
    let mut warned = verdict();
    warned
        .conditions
        .push(condition("Warning", ConditionStatus::True, "late"));
    let current1 = current(&resource, json!({}), json!({}));
    let there = write(&key(Kind::Mesh), &current1, &warned, NOW).expect("new");
    let current2 = current(&resource, json!({}), applied(&json!({}), &there));
    let over = write(&key(Kind::Mesh), &current2, &verdict(), NOW).expect("one is too many");
    assert_eq!(
        over.body["status"]["conditions"].as_array().map(Vec::len),
        Some(3)
    );
}

#[test]
fn what_other_controllers_say_of_a_route_stays_and_the_write_is_for_the_version_that_was_read() {
    let resource = resource();
    let theirs = json!({"parentRef": {"name": "gateway"}, "controllerName": "example.com/other", "conditions": []});
    let status = json!({"parents": [theirs]});
    let before = current(&resource, parents(), status.clone());
    let first = write(&key(Kind::HttpRoute), &before, &verdict(), NOW).expect("ours is missing");
    assert_eq!(
        (first.how, &first.body["metadata"]["resourceVersion"]),
        (How::Merge, &json!("77"))
    );
    let entries = first.body["status"]["parents"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(entries[0], theirs);
    assert_eq!(entries[1]["controllerName"], "usher.dev/control-plane");
    assert_eq!(
        entries[1]["conditions"].as_array().map(Vec::len),
        Some(2),
        "of a parent, not of proxies"
    );
    let after = current(&resource, parents(), applied(&status, &first));
    assert_eq!(write(&key(Kind::HttpRoute), &after, &verdict(), NOW), None);
    // Its parent is another: the entry of the old one goes.
    let other = json!({"parentRefs": [{"group": "", "kind": "Service", "name": "ledger"}]});
    let after = current(&resource, other, applied(&status, &first));
    let entries = write(&key(Kind::HttpRoute), &after, &verdict(), NOW)
        .expect("another")
        .body;
    let entries = entries["status"]["parents"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!((entries.len(), &entries[0]), (2, &theirs));
}

#[test]
fn what_a_gateways_listeners_have_is_written_when_it_changes() {
    let resource = resource();
    let listener = |attached: usize| ListenerVerdict {
        name: "web".to_owned(),
        kinds: vec!["HTTPRoute".to_owned()],
        attached,
        conditions: vec![condition("Accepted", ConditionStatus::True, "in force")],
    };
    let of = |status: &Value, listeners: Vec<ListenerVerdict>| {
        let verdict = Verdict {
            listeners,
            ..verdict()
        };
        let current = current(&resource, json!({}), status.clone());
        write(&key(Kind::Gateway), &current, &verdict, NOW)
    };
    let first = of(&json!({}), vec![listener(1)]).expect("nothing is there");
    let there = applied(&json!({}), &first);
    let web = &there["listeners"][0];
    assert_eq!(
        (&web["name"], &web["attachedRoutes"]),
        (&json!("web"), &json!(1))
    );
    let kind = json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"});
    assert_eq!(web["supportedKinds"], json!([kind]));
    assert_eq!(web["conditions"][0]["type"], "Accepted");
    assert_eq!(of(&there, vec![listener(1)]), None);
    // The controller before us has left something.
    let mut left = there.clone();
    let theirs = json!({"type": "Conflicted", "status": "False"});
    left["listeners"][0]["conditions"] = json!([theirs, web["conditions"][0]]);
    let gone = json!({"name": "gone", "conditions": [theirs]});
    left["listeners"] = json!([left["listeners"][0], gone]);
    assert_eq!(of(&left, vec![listener(1)]), None);
    let second = of(&there, vec![listener(2)]).expect("another route");
    assert_eq!(second.body["status"]["listeners"][0]["attachedRoutes"], 2);
    let mut other = listener(1);
    other.name = "tls".to_owned();
    let third = of(&there, vec![other]).expect("another listener");
    let listeners = third.body["status"]["listeners"].as_array();
    assert_eq!(listeners.map(Vec::len), Some(1));
}

#[test]
fn nothing_is_written_into_what_has_no_status() {
    let resource = resource();
    let current = current(&resource, json!({}), json!({}));
    assert_eq!(
        write(&key(Kind::ReferenceGrant), &current, &verdict(), NOW),
        None
    );
}

proptest! {
    #[test]
    fn whatever_was_there_one_write_is_enough(
        kind in prop::sample::select(vec![Kind::HttpRoute, Kind::AccessPolicy, Kind::BackendTlsPolicy, Kind::Gateway]),
        names in prop::collection::vec("[a-c]", 0..4),
        odd in prop::sample::select(vec![Value::Null, json!(7), json!([]), json!([7, null]), json!([{"type": "Accepted"}]), json!([{"type": 7}])]),
    ) {
        let resource = resource();
        let mut unique = names;
        unique.sort();
        unique.dedup();
        let refs: Vec<Value> = unique.iter().map(|name| json!({"name": name})).collect();
        let spec = json!({"parentRefs": refs, "targetRefs": refs});
        let status = json!({"conditions": odd, "parents": odd, "ancestors": odd});
        let before = current(&resource, spec.clone(), status.clone());
        if let Some(first) = write(&key(kind), &before, &verdict(), NOW) {
            let after = current(&resource, spec, applied(&status, &first));
            prop_assert_eq!(write(&key(kind), &after, &verdict(), NOW), None);
        }
    }
}
