//! What is applied to the cluster is in force, and its pods are the mesh.

use serde_json::json;

use super::bank::{
    accepted, bank, endpoints, key, pod, pod_key, policy, read, service, slice, slice_key,
};
use crate::{
    api_server::ApiServer,
    plane::{Plane, eventually},
};

#[tokio::test]
async fn services_and_their_pods_are_services_and_instances_by_their_readiness() {
    let api = bank().await;
    let plane = Plane::following(&api).await;
    let both = ["account-1 10.0.0.1:15006", "account-2 10.0.0.2:15006"];
    eventually("both pods are there", async || {
        (endpoints(&plane, "account").await == both).then_some(())
    })
    .await;
    let services = read(&plane, "/v1/services").await.expect("an answer");
    assert_eq!(
        services[0]["identities"],
        json!(["spiffe://usher.local/ns/bank/sa/account"])
    );
    api.edit(&slice_key("account-x"), |slice| {
        slice["endpoints"][0]["conditions"]["ready"] = json!(false);
    });
    eventually("one is not ready", async || {
        let now = endpoints(&plane, "account").await;
        (now == ["account-1 10.0.0.1:15006!", "account-2 10.0.0.2:15006"]).then_some(())
    })
    .await;
    api.edit(&pod_key("account-2"), |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-30T15:00:00Z");
    });
    eventually("the other is asked to end", async || {
        (endpoints(&plane, "account").await == ["account-1 10.0.0.1:15006!"]).then_some(())
    })
    .await;
    let revision =
        read(&plane, "/v1/status").await.expect("an answer")["revision"]["number"].clone();
    assert_eq!(revision, 1, "who is where is no revision");
}

#[tokio::test]
async fn a_service_without_sidecars_is_called_in_plaintext_and_no_more_once_it_has_some() {
    let api = bank().await;
    api.put(service("old"));
    let there = ("old-1".to_owned(), "10.0.0.9".to_owned());
    let mut without = pod("old-1", "old", "10.0.0.9");
    without["spec"] = json!({"containers": [{"name": "application"}]});
    api.put(without);
    api.put(slice("old-x", "old", std::slice::from_ref(&there)));
    let plane = Plane::following(&api).await;
    eventually("it is called where it listens", async || {
        (endpoints(&plane, "old").await == ["ip-10-0-0-9-8080-80 10.0.0.9:8080"]).then_some(())
    })
    .await;
    let new = ("old-2".to_owned(), "10.0.0.10".to_owned());
    api.put(pod("old-2", "old", "10.0.0.10"));
    api.put(slice("old-x", "old", &[there, new]));
    eventually("only who has a sidecar is called", async || {
        (endpoints(&plane, "old").await == ["old-2 10.0.0.10:15006"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_object_with_a_mistake_keeps_its_last_good_version_and_is_named() {
    let api = bank().await;
    api.put(policy("account", &json!([])));
    let plane = Plane::following(&api).await;
    eventually("it is in force", async || {
        let found = accepted(&plane, "AccessPolicy", "account").await?;
        (found.0 == "True").then_some(())
    })
    .await;
    api.put(policy("account", &json!(7)));
    let why = eventually("its mistake is told", async || {
        let found = accepted(&plane, "AccessPolicy", "account").await?;
        (found.0 == "False").then_some(found.1)
    })
    .await;
    assert!(
        why.contains("spec.rules") && why.contains("stays in force"),
        "{why}"
    );
    api.put(policy(
        "account",
        &json!([{"from": {"namespaces": ["bank"]}}]),
    ));
    eventually("it is mended", async || {
        let found = accepted(&plane, "AccessPolicy", "account").await?;
        (found.0 == "True").then_some(())
    })
    .await;
    api.delete(&key("usher.dev/v1alpha1", "accesspolicies", "account"));
    eventually("it is gone", async || {
        let gone = accepted(&plane, "AccessPolicy", "account").await.is_none();
        gone.then_some(())
    })
    .await;
}

#[tokio::test]
async fn kinds_are_found_in_the_version_that_is_there_and_when_they_come_later() {
    let api = ApiServer::start().await;
    api.put(service("account"));
    api.install("usher.dev/v1alpha1", "Mesh", "meshes");
    let plane = Plane::following(&api).await;
    eventually("it runs without any other of our kinds", async || {
        let services = read(&plane, "/v1/services").await?;
        (services.as_array()?.len() == 1).then_some(())
    })
    .await;
    let grant = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "web", "namespace": "bank"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "web"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    });
    api.put(grant);
    api.install(
        "gateway.networking.k8s.io/v1beta1",
        "ReferenceGrant",
        "referencegrants",
    );
    eventually("an older version of it is read", async || {
        let found = accepted(&plane, "ReferenceGrant", "web").await?;
        (found.0 == "True").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_applied_by_hand_is_refused_with_the_way_to_do_it() {
    let api = bank().await;
    let plane = Plane::following(&api).await;
    let folder = tempfile::tempdir().expect("writable");
    std::fs::write(
        folder.path().join("a.yaml"),
        "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {}\n",
    )
    .expect("writable");
    let said = plane
        .refused(&["apply", folder.path().to_str().expect("UTF-8")])
        .await;
    assert!(said.contains("kubectl apply"), "{said}");
}
