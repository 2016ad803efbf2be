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

fn writes(api: &ApiServer) -> usize {
    let requests = api.requests();
    let statuses = requests
        .iter()
        .filter(|one| one.starts_with("PATCH") && one.contains("/status"));
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
    let before = writes(&api);
    api.edit(&of_policy(), |object| object["status"] = json!({}));
    status(&api, "False").await;
    api.edit(&of_policy(), |object| {
        object["metadata"]["annotations"] = json!({"note": "x"})
    });
    let looked = api.requests().len();
    eventually("the lease was renewed", async || {
        (api.requests().len() > looked).then_some(())
    })
    .await;
    assert!(writes(&api) <= before + 2, "{before} → {}", writes(&api));
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
