//! What became of an object is in its status, written by one of several control planes.

use serde_json::{Value, json};

use super::bank::{bank, key, policy};
use crate::{
    api_server::{ApiServer, Key},
    plane::{Plane, eventually},
};

fn of_policy() -> Key {
    key("usher.dev/v1alpha1", "accesspolicies", "account")
}

/// The condition `Accepted` of a list of them.
fn accepted(conditions: &Value) -> Option<Value> {
    let all = conditions.as_array()?;
    all.iter().find(|one| one["type"] == "Accepted").cloned()
}

async fn status(api: &ApiServer, wanted: &str) -> Value {
    eventually(&format!("Accepted: {wanted}"), async || {
        let object = api.get(&of_policy())?;
        let found = accepted(&object["status"]["conditions"])?;
        (found["status"] == wanted).then_some(found)
    })
    .await
}

fn writes_of(api: &ApiServer, name: &str) -> usize {
    let (requests, path) = (api.requests(), format!("/accesspolicies/{name}/status"));
    let statuses = requests
        .iter()
        .filter(|one| one.starts_with("PATCH") && one.contains(&path));
    statuses.count()
}

#[tokio::test]
async fn what_became_of_an_object_is_in_its_status_and_is_written_once() {
    let api = bank().await;
    let mut good = policy("account", &json!([]));
    good["metadata"]["generation"] = json!(1);
    api.put(good.clone());
    let plane = Plane::following(&api).await;
    let found = status(&api, "True").await;
    assert_eq!(found["observedGeneration"], 1);
    let mut bad = policy("account", &json!(7));
    bad["metadata"]["generation"] = json!(2);
    bad["status"] = api.get(&of_policy()).expect("there")["status"].clone();
    api.put(bad);
    let found = status(&api, "False").await;
    assert_eq!(found["observedGeneration"], 2);
    let message = found["message"].as_str().expect("a message");
    assert!(message.contains("spec.rules"), "{message}");
    // Somebody takes it away: it comes back. Otherwise nothing is written.
    let before = writes_of(&api, "account");
    api.edit(&of_policy(), |object| object["status"] = json!({}));
    status(&api, "False").await;
    api.edit(&of_policy(), |object| {
        object["metadata"]["annotations"] = json!({"note": "x"})
    });
    // Another object's status is written by a later look than the one that saw this edit.
    let mut other = policy("second", &json!([]));
    other["spec"]["targetRefs"][0]["name"] = json!("nobody");
    api.put(other);
    let second = key("usher.dev/v1alpha1", "accesspolicies", "second");
    eventually("another one is written", async || {
        let object = api.get(&second)?;
        accepted(&object["status"]["conditions"])
    })
    .await;
    let of_first = writes_of(&api, "account") - before;
    assert_eq!(of_first, 1, "{:?}", api.requests());
    drop(plane);
}

#[tokio::test]
async fn other_controllers_say_of_a_route_what_they_said() {
    let api = bank().await;
    let theirs = json!({
        "parentRef": {"name": "gateway"}, "controllerName": "example.com/other",
        "conditions": [{"type": "Accepted", "status": "True"}],
    });
    api.put(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "account", "namespace": "bank", "generation": 1},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "account"}],
            "rules": [{"backendRefs": [{"name": "account", "port": 80}]}],
        },
        "status": {"parents": [theirs]},
    }));
    // The first write crosses with another one.
    api.cross(1);
    let _plane = Plane::following(&api).await;
    let route = key("gateway.networking.k8s.io/v1", "httproutes", "account");
    let parents = eventually("ours is there, too", async || {
        let parents = api.get(&route)?["status"]["parents"].as_array()?.clone();
        (parents.len() == 2).then_some(parents)
    })
    .await;
    assert_eq!(parents[0], theirs);
    assert_eq!(parents[1]["controllerName"], "usher.dev/control-plane");
    assert_eq!(parents[1]["parentRef"]["name"], "account");
    assert_eq!(
        accepted(&parents[1]["conditions"]).expect("told")["status"],
        "True"
    );
}

#[tokio::test]
async fn parents_that_are_others_are_not_spoken_for_and_what_was_said_of_them_is_taken_back() {
    let api = bank().await;
    let route = |parents: Value| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "account", "namespace": "bank", "generation": 1},
            "spec": {
                "parentRefs": parents, "rules": [{"backendRefs": [{"name": "account", "port": 80}]}],
            },
        })
    };
    let theirs = json!({"name": "theirs"});
    let ours = json!({"group": "", "kind": "Service", "name": "account"});
    api.put(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "theirs", "namespace": "bank"},
        "spec": {"gatewayClassName": "example", "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}]},
    }));
    api.put(route(json!([theirs, ours])));
    let _plane = Plane::following(&api).await;
    let of_route = key("gateway.networking.k8s.io/v1", "httproutes", "account");
    let parents = eventually("it is spoken of", async || {
        let parents = api.get(&of_route)?["status"]["parents"].as_array()?.clone();
        (!parents.is_empty()).then_some(parents)
    })
    .await;
    let spoken_of: Vec<&Value> = parents.iter().map(|one| &one["parentRef"]).collect();
    assert_eq!(spoken_of, [&ours]);
    api.edit(&of_route, |object| {
        object["spec"]["parentRefs"] = json!([theirs]);
    });
    eventually("nothing is said of it any more", async || {
        let parents = api.get(&of_route)?["status"]["parents"].as_array()?.clone();
        parents.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_two_control_planes_one_writes() {
    let api = bank().await;
    api.put(policy("account", &json!([])));
    let first = Plane::following(&api).await;
    status(&api, "True").await;
    let second = Plane::following(&api).await;
    let lease = Key {
        namespace: "default".to_owned(),
        ..Key::of_cluster("coordination.k8s.io/v1", "leases", "usher-status")
    };
    let holder =
        |api: &ApiServer| api.get(&lease).expect("taken")["spec"]["holderIdentity"].clone();
    let held_by = holder(&api);
    api.edit(&of_policy(), |object| object["status"] = json!({}));
    status(&api, "True").await;
    assert_eq!(holder(&api), held_by);
    let wrote =
        [&first, &second].map(|plane| plane.log().contains("writes the statuses of objects"));
    assert_eq!(wrote, [true, false]);
}
