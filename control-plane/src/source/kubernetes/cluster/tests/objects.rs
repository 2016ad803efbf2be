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
    let mut both = unreadable.clone();
    both["metadata"]["name"] = json!("deep.with.a.dot");
    let all = vec![policy("with.a.dot"), unreadable, both];
    objects.push((Watched::Documents(Kind::AccessPolicy), all));
    let (_, heard) = whole(&objects);
    assert_eq!(heard.keys(Kind::Service), ["account"]);
    assert!(heard.parsed.unreadable.is_empty(), "all else goes on");
    assert_eq!(heard.parsed.rejected.len(), 3);
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

#[test]
fn a_machines_workload_with_a_mistake_leaves_its_account_to_the_machine() {
    let workloads = Watched::Documents(Kind::Workload);
    let mut machine = json!({
        "metadata": {"name": "account", "namespace": "bank", "labels": {"app": "account"}},
        "spec": {"serviceAccount": "account"},
    });
    let mut objects = bank();
    objects[0].1.push(pod("ledger-1", "ledger", "10.0.0.3"));
    objects.push((workloads, vec![machine.clone()]));
    let (mut cluster, mut heard) = whole(&objects);
    let identity = "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid");
    assert!(!heard.placed.is_of_pods(&identity));
    machine["spec"]["weight"] = json!("heavy");
    machine["spec"]["serviceAccount"] = json!("another");
    cluster.put(workloads, &machine);
    heard.hear(&mut cluster);
    let rejected = &heard.parsed.rejected;
    assert_eq!(rejected.len(), 1, "{:?}", heard.parsed.mistakes);
    let other = "spiffe://usher.local/ns/bank/sa/ledger"
        .parse()
        .expect("valid");
    assert!(heard.placed.is_of_pods(&other), "it is nobody else's fault");
    assert!(
        !heard.placed.is_of_pods(&identity),
        "its last good version runs"
    );
    assert!(
        !heard.keys(Kind::Workload).contains(&"account".to_owned()),
        "and nobody else has its name"
    );
    let gone = ("bank".to_owned(), "account".to_owned());
    cluster.tell(workloads, Told::IsNot(gone));
    heard.hear(&mut cluster);
    assert!(heard.placed.is_of_pods(&identity), "it is gone");
}

#[test]
fn while_the_kind_of_workloads_is_not_served_any_account_may_be_a_machines() {
    let mut cluster = Cluster::default();
    for (watched, objects) in bank() {
        cluster.list(watched, &objects);
    }
    cluster.tell(Watched::Documents(Kind::Workload), Told::IsUnknown);
    let places = cluster.places().expect("pods are known");
    assert!(places.moved.accounts.is_empty() && !places.moved.is_all);
    assert_eq!(places.moved.places.len(), 1);
    cluster.list(Watched::Documents(Kind::Workload), &[]);
    let places = cluster.places().expect("now it is");
    assert_eq!(places.moved.accounts.len(), 1);
    assert!(places.moved.is_all);
}
