//! The `caBundle` is what proves us, whatever others do to it, and through a change of roots.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    client::{Client, certificates, post, review},
    plane::{Plane, believing, bundle, eventually, installed, keys},
};
use crate::api_server::ApiServer;

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "bank"},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    })
}

/// How many writes we were refused or granted.
fn writes(api: &ApiServer) -> usize {
    let requests = api.requests();
    requests
        .iter()
        .filter(|one| one.starts_with("PATCH"))
        .count()
}

#[tokio::test]
async fn a_bundle_that_somebody_empties_or_replaces_comes_back_and_nothing_else_is_touched() {
    let api = installed().await;
    let before = keys().map(|key| api.get(&key).expect("installed"));
    let plane = Plane::start(&api, "", &[]).await;
    let mut client = believing(&api, &plane).await;
    assert_eq!(
        client.ask("/inject", &review("CREATE", &pod())).await["allowed"],
        true
    );
    let whole = bundle(&api).expect("written");
    api.edit(&keys()[0], |object| {
        object["webhooks"][1]["clientConfig"]["caBundle"] = json!("")
    });
    eventually("it is back", async || bundle(&api)).await;
    api.edit(&keys()[1], |object| {
        object["webhooks"][0]["clientConfig"]["caBundle"] = json!("QUJD")
    });
    let again = eventually("it is back", async || bundle(&api)).await;
    assert_eq!(again, whole);
    for (key, before) in keys().iter().zip(before) {
        let mut now = api.get(key).expect("there");
        for webhook in now["webhooks"].as_array_mut().expect("a list") {
            webhook["clientConfig"]
                .as_object_mut()
                .expect("fields")
                .remove("caBundle");
        }
        assert_eq!(now["webhooks"], before["webhooks"]);
        assert_eq!(now["metadata"]["labels"], before["metadata"]["labels"]);
    }
    // Somebody deletes and installs them anew.
    for object in usher_control_plane::webhook::objects::configurations(&Default::default()) {
        api.put(object);
    }
    assert_eq!(eventually("it is back", async || bundle(&api)).await, whole);
}

#[tokio::test]
async fn a_write_that_crosses_with_another_is_thought_over() {
    let api = installed().await;
    api.cross(3);
    let plane = Plane::start(&api, "", &[]).await;
    eventually("a caBundle", async || bundle(&api)).await;
    assert_eq!(
        writes(&api),
        5,
        "three refused, two granted: {}",
        plane.log()
    );
    assert!(!plane.log().contains("is not kept"), "{}", plane.log());
}

#[tokio::test]
async fn an_api_server_that_comes_late_goes_away_and_forgets_is_served_all_the_same() {
    let mut api = installed().await;
    api.stop().await;
    let plane = Plane::start(&api, "", &[]).await;
    let mut client = plane.client().await;
    assert_eq!(
        client.ask("/inject", &review("CREATE", &pod())).await["allowed"],
        true
    );
    eventually("the log says it", async || {
        plane.log().contains("caBundle is not kept").then_some(())
    })
    .await;
    api.restart().await;
    let whole = eventually("a caBundle", async || bundle(&api)).await;
    // Whoever watched has to begin anew: what it went on from is forgotten.
    api.stop().await;
    api.edit(&keys()[0], |object| {
        object["webhooks"][0]["clientConfig"]["caBundle"] = json!("")
    });
    api.forget();
    api.restart().await;
    assert_eq!(eventually("it is back", async || bundle(&api)).await, whole);
    api.edit(&keys()[1], |object| {
        object["webhooks"][0]["clientConfig"]["caBundle"] = json!("")
    });
    assert_eq!(eventually("it is back", async || bundle(&api)).await, whole);
}

#[tokio::test]
async fn where_nothing_is_installed_yet_it_is_done_as_soon_as_it_is() {
    let api = ApiServer::start().await;
    let plane = Plane::start(&api, "", &[]).await;
    let mut client = plane.client().await;
    assert_eq!(
        client.ask("/inject", &review("CREATE", &pod())).await["allowed"],
        true
    );
    eventually("it has looked", async || {
        api.requests()
            .iter()
            .any(|one| one.contains("watch=true"))
            .then_some(())
    })
    .await;
    for object in usher_control_plane::webhook::objects::configurations(&Default::default()) {
        api.put(object);
    }
    eventually("a caBundle", async || bundle(&api)).await;
}

/// Asks again and again, each time over a new connection that believes the bundle of that moment.
async fn load(
    api: Arc<ApiServer>,
    plane: Arc<Plane>,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
) {
    let body = review("CREATE", &pod()).to_string();
    while !stop.load(Ordering::Relaxed) {
        // Both configurations are written one after the other; each API server call uses one of them.
        let configuration = api.get(&keys()[0]).expect("installed");
        let roots = configuration["webhooks"][0]["clientConfig"]["caBundle"]
            .as_str()
            .expect("written")
            .to_owned();
        let mut client = Client::connect(plane.webhook(), &certificates(&roots))
            .await
            .expect("believed");
        let answer = client
            .send(post("/inject", body.clone()))
            .await
            .expect("an answer");
        assert_eq!(answer.status, StatusCode::OK);
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_change_of_roots_under_load_loses_no_question() {
    let api = Arc::new(installed().await);
    let plane = Arc::new(Plane::start(&api, "", &[]).await);
    let old = eventually("a caBundle", async || bundle(&api)).await;
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let loads: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(load(
                api.clone(),
                plane.clone(),
                stop.clone(),
                asked.clone(),
            ))
        })
        .collect();
    let mut kept = Client::connect(plane.webhook(), &certificates(&old))
        .await
        .expect("believed");
    plane.usher(&["ca", "rotate"]).await;
    let both = eventually("a bundle with two roots", async || {
        bundle(&api).filter(|bundle| certificates(bundle).len() == 2)
    })
    .await;
    let new_first = certificates(&both);
    let old_root = certificates(&old);
    assert_ne!(new_first[0], old_root[0], "the active one first");
    // Who has not heard of the new root, and who has forgotten the old one.
    for roots in [&old_root[..], &new_first[..1]] {
        eventually("both believe us", async || {
            Client::connect(plane.webhook(), roots).await.ok()
        })
        .await;
    }
    let status: Value =
        serde_json::from_str(&plane.usher(&["ca", "status", "--json"]).await).expect("JSON");
    let retiring = status["roots"]
        .as_array()
        .expect("roots")
        .iter()
        .find(|root| root["phase"] == "Retiring");
    let pin = retiring.expect("the old one")["sha256"]
        .as_str()
        .expect("a pin")
        .to_owned();
    plane.usher(&["ca", "retire", &pin, "--force"]).await;
    eventually("a bundle with the new root alone", async || {
        bundle(&api).filter(|bundle| certificates(bundle).len() == 1)
    })
    .await;
    let done = asked.load(Ordering::Relaxed);
    eventually("the load goes on", async || {
        (asked.load(Ordering::Relaxed) > done + 20).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.expect("no question was lost");
    }
    // Connections from before go on.
    assert_eq!(
        kept.ask("/inject", &review("CREATE", &pod())).await["allowed"],
        true
    );
    assert!(
        Client::connect(plane.webhook(), &old_root).await.is_err(),
        "the old root is not enough any more"
    );
    assert!(plane.log().contains("webhook certificate renewed"));
}

#[tokio::test]
async fn two_control_planes_of_one_mesh_do_not_write_against_each_other() {
    let api = installed().await;
    let first = Plane::start(&api, "", &[]).await;
    eventually("a caBundle", async || bundle(&api)).await;
    let writes_of_one = writes(&api);
    let second = first.beside(&api).await;
    let mut client = believing(&api, &second).await;
    assert_eq!(
        client.ask("/inject", &review("CREATE", &pod())).await["allowed"],
        true
    );
    let looked = |api: &ApiServer| {
        api.requests()
            .iter()
            .filter(|one| one.contains("watch=true"))
            .count()
    };
    eventually("the second has looked", async || {
        (looked(&api) >= 4).then_some(())
    })
    .await;
    assert_eq!(writes(&api), writes_of_one, "there is nothing to write");
}
