//! The mesh's own configuration, and what of Gateway API is others'.

use super::*;

const ROUTES: Watched = Watched::Documents(Kind::HttpRoute);
const GATEWAYS: Watched = Watched::Documents(Kind::Gateway);

fn gateway(name: &str, class: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "bank", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"gatewayClassName": class, "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}]},
    })
}

fn route(name: &str, parents: Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {
            "name": name, "namespace": "bank", "uid": "u", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {"parentRefs": parents, "rules": [{"backendRefs": [{"name": "account", "port": 80}]}]},
        "status": {"parents": []},
    })
}

#[test]
fn an_object_is_what_somebody_has_written_and_as_old_as_the_api_server_says() {
    let mut objects = bank();
    let to_service = json!([{"group": "", "kind": "Service", "name": "account"}]);
    objects.push((ROUTES, vec![route("account", to_service)]));
    let (mut cluster, mut heard) = whole(&objects);
    assert_eq!(heard.parsed.mistakes, []);
    let key = heard
        .objects()
        .into_keys()
        .find(|key| key.kind == Kind::HttpRoute);
    let made = heard.parsed.since[&key.expect("accepted")];
    let age = made
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    assert_eq!(age.as_secs(), 1_767_225_600);
    // What others note in its status is nothing new.
    let mut noted = objects[3].1[0].clone();
    noted["status"]["parents"] = json!([{"controllerName": "example.com/other"}]);
    noted["metadata"]["resourceVersion"] = json!("8");
    cluster.put(ROUTES, &noted);
    heard.hear(&mut cluster);
    assert_eq!(heard.configurations, 1);
}

#[test]
fn one_object_with_a_mistake_is_refused_alone_and_says_where() {
    let mut objects = bank();
    let to_service = json!([{"group": "", "kind": "Service", "name": "account"}]);
    let mut broken = route("broken", to_service.clone());
    broken["spec"]["rules"][0]["backendRefs"][0]["port"] = json!("eighty");
    objects.push((ROUTES, vec![route("account", to_service), broken]));
    let (_, heard) = whole(&objects);
    assert_eq!(heard.keys(Kind::HttpRoute), ["account"]);
    let mistake = heard.parsed.mistakes.first().expect("told");
    assert_eq!(mistake.field, "spec.rules[0].backendRefs[0].port");
    assert_eq!(mistake.file.to_str(), Some("api/HTTPRoute/bank/broken"));
    assert_eq!(heard.parsed.rejected.len(), 1);
    assert!(heard.parsed.unreadable.is_empty());
}

#[test]
fn a_policy_whose_name_is_none_here_or_that_cannot_be_read_closes_and_hides_nothing_else() {
    let mut objects = bank();
    let policy = |name: &str| {
        json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": name, "namespace": "bank"},
            "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "account"}], "rules": []},
        })
    };
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let mut unreadable = policy("deep");
    unreadable["spec"]["rules"] = deep;
    let all = vec![policy("with.a.dot"), unreadable];
    objects.push((Watched::Documents(Kind::AccessPolicy), all));
    let (_, heard) = whole(&objects);
    assert_eq!(heard.keys(Kind::Service), ["account"]);
    assert!(heard.parsed.unreadable.is_empty(), "all else goes on");
    assert_eq!(heard.parsed.rejected.len(), 2);
    for rejected in &heard.parsed.rejected {
        assert!(
            !rejected.targets.is_empty() && rejected.named,
            "{rejected:?}"
        );
    }
}

#[test]
fn gateways_of_other_classes_and_what_hangs_on_them_alone_are_others() {
    let mut objects = bank();
    objects.push((
        GATEWAYS,
        vec![gateway("ours", "usher"), gateway("theirs", "example")],
    ));
    let theirs = json!([{"name": "theirs"}]);
    let both = json!([{"name": "theirs"}, {"group": "", "kind": "Service", "name": "account"}]);
    let strange = json!([{"group": "example.com", "kind": "Thing", "name": "x"}]);
    objects.push((
        ROUTES,
        vec![
            route("theirs", theirs),
            route("both", both),
            route("strange", strange),
        ],
    ));
    let (mut cluster, mut heard) = whole(&objects);
    assert_eq!(heard.keys(Kind::Gateway), ["ours"]);
    assert_eq!(heard.keys(Kind::HttpRoute), ["both"]);
    assert!(
        heard.parsed.rejected.is_empty(),
        "{:?}",
        heard.parsed.mistakes
    );
    // It becomes ours, and with it what hangs on it.
    cluster.put(GATEWAYS, &gateway("theirs", "usher"));
    heard.hear(&mut cluster);
    assert_eq!(heard.keys(Kind::HttpRoute), ["both", "theirs"]);
}
