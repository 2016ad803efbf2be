//! Nothing is opened and nothing is lost by an API server that goes away, forgets, breaks off or is slow.

use std::time::Duration;

use serde_json::json;

use super::bank::{accepted, bank, endpoints, pod_key, policy, read, service};
use crate::{
    api_server::{ApiServer, Key},
    plane::{Plane, eventually},
};

const BOTH: [&str; 2] = ["account-1 10.0.0.1:15006", "account-2 10.0.0.2:15006"];

async fn in_force(plane: &Plane, name: &str) {
    eventually("the policy is in force", async || {
        let found = accepted(plane, "AccessPolicy", name).await?;
        (found.0 == "True").then_some(())
    })
    .await;
}

async fn everybody_is_there(plane: &Plane) {
    eventually("both pods are there", async || {
        (endpoints(plane, "account").await == BOTH).then_some(())
    })
    .await;
}

#[tokio::test]
async fn while_the_api_server_is_away_all_stays_and_then_goes_on() {
    let mut api = bank().await;
    api.put(policy("account", &json!([])));
    let plane = Plane::following(&api).await;
    in_force(&plane, "account").await;
    everybody_is_there(&plane).await;
    api.stop().await;
    let said = eventually("somebody is told", async || {
        let status = read(&plane, "/v1/status").await?;
        let rejected = status["rejected"].as_array()?.clone();
        let found = rejected
            .into_iter()
            .find(|one| one["object"] == "Kubernetes API")?;
        found["mistakes"][0]["message"].as_str().map(str::to_owned)
    })
    .await;
    assert!(said.contains("cannot be followed"), "{said}");
    in_force(&plane, "account").await;
    everybody_is_there(&plane).await;
    // What happens meanwhile is seen afterwards, although the API server does not remember it.
    api.put(service("late"));
    api.delete(&pod_key("account-2"));
    api.forget();
    api.restart().await;
    eventually("a Service that came meanwhile is there", async || {
        let services = read(&plane, "/v1/services").await?;
        (services.as_array()?.len() == 2).then_some(())
    })
    .await;
    in_force(&plane, "account").await;
    eventually("a pod has gone", async || {
        let now = endpoints(&plane, "account").await;
        (!now.contains(&BOTH[1].to_owned())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_list_that_breaks_off_takes_nothing_away() {
    let api = bank().await;
    for number in 0..600 {
        api.put(service(&format!("other-{number:03}")));
    }
    let plane = Plane::following(&api).await;
    let count = async |plane: &Plane| {
        let services = read(plane, "/v1/services").await?;
        Some(services.as_array()?.len())
    };
    eventually("all are there", async || {
        (count(&plane).await == Some(601)).then_some(())
    })
    .await;
    // Watches end, lists begin anew, and only their first page comes.
    let mut api = api;
    api.stop().await;
    api.break_pages(&["services"]);
    api.put(service("unseen"));
    api.forget();
    api.restart().await;
    let listed = |api: &ApiServer| {
        let requests = api.requests();
        let pages = requests
            .iter()
            .filter(|one| one.contains("/services?") && one.contains("continue="));
        pages.count()
    };
    let before = listed(&api);
    eventually("a second page was asked for twice", async || {
        (listed(&api) >= before + 2).then_some(())
    })
    .await;
    assert_eq!(count(&plane).await, Some(601));
    api.break_pages(&[]);
    api.put(service("another"));
    eventually("it goes on", async || {
        (count(&plane).await == Some(603)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_comes_late_is_waited_for_and_one_that_is_away_later_is_not() {
    let mut api = bank().await;
    api.put(json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "Mesh", "metadata": {"name": "mesh"},
        "spec": {"trustDomain": "bank.test"},
    }));
    api.put(policy("account", &json!([])));
    api.stop().await;
    let mut plane = Plane::waiting(tempfile::tempdir().expect("writable"), &api);
    eventually("it says what it waits for", async || {
        plane.log().contains("waiting for it").then_some(())
    })
    .await;
    assert!(plane.is_waiting(), "the trust domain is in the cluster");
    api.restart().await;
    plane.answers().await;
    let status = read(&plane, "/v1/status").await.expect("an answer");
    assert_eq!(status["trustDomain"], "bank.test");
    in_force(&plane, "account").await;
    api.stop().await;
    let plane = plane.again(&api).await;
    in_force(&plane, "account").await;
    let status = read(&plane, "/v1/status").await.expect("an answer");
    assert_eq!(status["trustDomain"], "bank.test");
    // It comes back before it serves our kinds: what is not told is not gone.
    api.uninstall("AccessPolicy");
    api.put(service("another"));
    api.restart().await;
    eventually("the rest is followed", async || {
        let services = read(&plane, "/v1/services").await?;
        (services.as_array()?.len() == 2).then_some(())
    })
    .await;
    in_force(&plane, "account").await;
}

#[tokio::test]
async fn who_waits_for_a_cluster_can_be_stopped() {
    let mut api = bank().await;
    api.stop().await;
    let mut plane = Plane::waiting(tempfile::tempdir().expect("writable"), &api);
    eventually("it waits", async || {
        plane.log().contains("waiting for it").then_some(())
    })
    .await;
    plane.terminate();
    assert!(plane.ended().await);
}

#[tokio::test]
async fn a_slow_watch_is_late_and_nothing_else() {
    let api = bank().await;
    let plane = Plane::following(&api).await;
    everybody_is_there(&plane).await;
    api.slow(Duration::from_millis(300));
    for round in 0..20 {
        api.edit(&pod_key("account-1"), |pod| {
            pod["status"]["round"] = json!(round)
        });
    }
    api.put(policy("account", &json!([])));
    in_force(&plane, "account").await;
    everybody_is_there(&plane).await;
}

#[tokio::test]
async fn a_kind_that_may_not_be_read_holds_up_the_configuration_and_nobody_who_comes_and_goes() {
    let api = bank().await;
    let plane = Plane::following(&api).await;
    everybody_is_there(&plane).await;
    let asked = |api: &ApiServer| {
        let requests = api.requests();
        let lists = requests
            .iter()
            .filter(|one| one.contains("/httproutes?") && !one.contains("watch="));
        lists.count()
    };
    api.forbid(&["httproutes"]);
    let before = asked(&api);
    let plane = plane.again(&api).await;
    api.edit(&pod_key("account-2"), |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-30T15:00:00Z");
    });
    eventually("who ends is gone", async || {
        (endpoints(&plane, "account").await == BOTH[..1]).then_some(())
    })
    .await;
    api.put(service("late"));
    eventually("somebody is told why", async || {
        let status = read(&plane, "/v1/status").await?;
        let said = status["rejected"].to_string();
        said.contains("httproutes is forbidden").then_some(())
    })
    .await;
    // Five seconds and more have passed: at first every 200 ms, then half as often each time.
    let lists = asked(&api) - before;
    assert!(lists < 12, "{lists} lists");
    let services = read(&plane, "/v1/services").await.expect("an answer");
    assert_eq!(
        services.as_array().map(Vec::len),
        Some(1),
        "not known whole"
    );
    api.forbid(&[]);
    eventually("all is followed", async || {
        let services = read(&plane, "/v1/services").await?;
        (services.as_array()?.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_first_start_waits_for_the_kind_that_names_the_trust_domain() {
    let api = bank().await;
    api.uninstall("Mesh");
    let mut plane = Plane::waiting(tempfile::tempdir().expect("writable"), &api);
    eventually("it says what to do", async || {
        plane.log().contains("found no kind Mesh").then_some(())
    })
    .await;
    assert!(plane.is_waiting());
    api.install("usher.dev/v1alpha1", "Mesh", "meshes");
    api.put(json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "Mesh", "metadata": {"name": "mesh"},
        "spec": {"trustDomain": "late.test"},
    }));
    plane.answers().await;
    let status = read(&plane, "/v1/status").await.expect("an answer");
    assert_eq!(status["trustDomain"], "late.test");
}

#[tokio::test]
async fn a_namespace_that_takes_no_roots_keeps_them_from_no_other() {
    let api = bank().await;
    let namespace =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    api.put(namespace("closed"));
    api.forbid(&["PATCH closed"]);
    let _plane = Plane::following(&api).await;
    let roots = |namespace: &str| {
        let key = Key {
            namespace: namespace.to_owned(),
            ..Key::of_cluster("v1", "configmaps", "usher-trust")
        };
        api.get(&key)
    };
    let tries = || {
        let requests = api.requests();
        let path = "/namespaces/closed/configmaps/usher-trust";
        requests.iter().filter(|one| one.contains(path)).count()
    };
    // Each try is followed by a longer pause than the one before: 1 s, 2 s, 4 s.
    eventually("it was tried three times", async || {
        (tries() >= 3).then_some(())
    })
    .await;
    api.put(namespace("late"));
    eventually("the next namespace has them", async || roots("late")).await;
    assert_eq!(
        (tries(), roots("closed")),
        (3, None),
        "it did not wait for that one"
    );
    api.forbid(&[]);
    eventually("it has them, too", async || roots("closed")).await;
}
