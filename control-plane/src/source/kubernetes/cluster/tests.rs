//! What a mesh makes of a cluster.

mod generated;
mod lists;
mod manifests;
mod objects;
mod odd;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usher_config::{
    kind::{Kind, Object, ObjectKey},
    parse::{Parsed, together},
    value::{Port, ServiceName},
};

use super::*;
use crate::registry::places::{Place, Places as Placed, Who};

/// A pod with a sidecar that answers as `service`.
fn pod(name: &str, service: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "bank", "labels": {"app": service, "pod-template-hash": name}},
        "spec": {"serviceAccountName": service, "containers": [{"name": "app"}], "initContainers": [{
            "name": "usher-proxy", "restartPolicy": "Always", "env": [
                {"name": "USHER_PROXY_SERVICE", "value": service},
                {"name": "USHER_PROXY_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "USHER_PROXY_APPLICATION_PORT", "value": "8080"},
            ],
        }]},
        "status": {"phase": "Running", "podIP": address},
    })
}

fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "bank"},
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP", "appProtocol": "http"}],
        },
        "status": {"loadBalancer": {}},
    })
}

/// Of pods and their addresses, all ready.
fn slice(service: &str, pods: &[(&str, &str)]) -> Value {
    let endpoints = pods.iter().map(|(pod, address)| {
        json!({
            "addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "bank", "name": pod}, "zone": "a", "nodeName": "n1",
        })
    });
    json!({
        "metadata": {
            "name": format!("{service}-x"), "namespace": "bank", "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn item(watched: Watched, object: &Value) -> (ApiName, Item) {
    let name = name_of(object).expect("a name");
    let item = match watched {
        Watched::Pods => Pod::of(object).map_or(Item::Nothing, Item::Pod),
        Watched::Slices => Slice::of(object).map_or(Item::Nothing, Item::Slice),
        Watched::Services => Item::service(&name, object),
        Watched::Documents(_) => Item::Document(Document::of(object)),
    };
    (name, item)
}

impl Cluster {
    fn put(&mut self, watched: Watched, object: &Value) {
        let (name, item) = item(watched, object);
        self.tell(watched, Told::Is(name, item));
    }

    fn list(&mut self, watched: Watched, objects: &[Value]) {
        self.tell(watched, Told::Begins);
        for object in objects {
            self.put(watched, object);
        }
        self.tell(watched, Told::IsWhole);
    }

    /// Whatever was not listed yet has nothing in it.
    fn list_the_rest(&mut self) {
        for watched in Watched::all() {
            if !self.is_told(watched) {
                self.list(watched, &[]);
            }
        }
    }
}

/// What was said so far.
#[derive(Default)]
struct Heard {
    placed: Placed,
    parsed: Parsed,
    configurations: usize,
    strangers: BTreeMap<ServiceName, Name>,
}

impl Heard {
    fn hear(&mut self, cluster: &mut Cluster) {
        if let Some(places) = cluster.places() {
            self.strangers.extend(places.strangers);
            self.placed.put(places.moved);
        }
        if let Some(said) = cluster.said() {
            self.parsed = together(said.parts.iter().map(Arc::as_ref));
            self.configurations += 1;
        }
    }

    fn of(&self, service: &str) -> BTreeMap<String, Place> {
        let places = self.placed.of(&service.parse().expect("a service"));
        let places = places.into_iter().flatten();
        places
            .map(|(name, place)| (name.to_string(), place.clone()))
            .collect()
    }

    fn objects(&self) -> BTreeMap<ObjectKey, Object> {
        let objects = self.parsed.objects.iter();
        objects
            .map(|one| (one.object.key(), one.object.clone()))
            .collect()
    }

    fn keys(&self, kind: Kind) -> Vec<String> {
        let objects = self.objects().into_keys();
        let objects = objects.filter(|key| key.kind == kind);
        objects.map(|key| key.name.to_string()).collect()
    }
}

/// A cluster that has told everything, and what was heard of it.
fn whole(objects: &[(Watched, Vec<Value>)]) -> (Cluster, Heard) {
    let (mut cluster, mut heard) = (Cluster::default(), Heard::default());
    for (watched, objects) in objects {
        cluster.list(*watched, objects);
    }
    cluster.list_the_rest();
    heard.hear(&mut cluster);
    (cluster, heard)
}

fn bank() -> Vec<(Watched, Vec<Value>)> {
    let pods = [
        pod("account-1", "account", "10.0.0.1"),
        pod("account-2", "account", "10.0.0.2"),
    ];
    let slices = [slice(
        "account",
        &[("account-1", "10.0.0.1"), ("account-2", "10.0.0.2")],
    )];
    vec![
        (Watched::Pods, pods.to_vec()),
        (Watched::Slices, slices.to_vec()),
        (Watched::Services, vec![service("account")]),
    ]
}

#[test]
fn nothing_is_said_before_all_is_told() {
    let (mut cluster, mut heard) = (Cluster::default(), Heard::default());
    for (watched, objects) in bank() {
        cluster.list(watched, &objects);
        heard.hear(&mut cluster);
        assert!(heard.of("bank/account").is_empty() && heard.configurations == 0);
    }
    cluster.tell(Watched::Documents(Kind::AccessPolicy), Told::Begins);
    cluster.list_the_rest();
    heard.hear(&mut cluster);
    assert_eq!(heard.of("bank/account").len(), 2);
    assert_eq!(heard.configurations, 1);
}

#[test]
fn a_service_and_its_meshed_pods_are_a_service_its_instances_and_one_workload() {
    let (_, heard) = whole(&bank());
    assert_eq!(heard.keys(Kind::Service), ["account"]);
    assert_eq!(heard.keys(Kind::Workload), ["account"]);
    assert_eq!(heard.parsed.mistakes, []);
    let places = heard.of("bank/account");
    let first = Place {
        address: "10.0.0.1:15006".parse().expect("valid"),
        ready: true,
        zone: "a".to_owned(),
        who: Who::Sidecar {
            account: "account".parse().expect("valid"),
        },
    };
    assert_eq!(places["account-1"], first);
    assert_eq!(places.len(), 2);
}

#[test]
fn pods_without_a_sidecar_are_called_where_they_listen() {
    let mut objects = bank();
    for pod in &mut objects[0].1 {
        pod["spec"] = json!({"containers": [{"name": "application"}]});
    }
    let (_, heard) = whole(&objects);
    assert_eq!(heard.keys(Kind::Workload), [""; 0]);
    let places = heard.of("bank/account");
    let place = &places["ip-10-0-0-1-8080-80"];
    assert_eq!(place.address, "10.0.0.1:8080".parse().expect("valid"));
    assert_eq!(
        place.who,
        Who::Alone {
            port: Port::try_from(80).expect("valid")
        }
    );
    assert_eq!(places.len(), 2);
}

#[test]
fn a_pod_that_nobody_knows_may_have_had_a_sidecar_and_is_not_called_in_plaintext() {
    let mut objects = bank();
    objects[0].1.clear();
    let (_, heard) = whole(&objects);
    assert_eq!(heard.of("bank/account"), BTreeMap::new());
    // Nor is one in its machine's network taken for one with a sidecar, whatever it has.
    let mut objects = bank();
    for pod in &mut objects[0].1 {
        pod["spec"]["hostNetwork"] = json!(true);
    }
    let (_, heard) = whole(&objects);
    let places = heard.of("bank/account");
    assert!(
        places
            .values()
            .all(|place| matches!(place.who, Who::Alone { .. })),
        "{places:?}"
    );
}

#[test]
fn a_pod_that_was_asked_to_end_and_an_endpoint_that_does_are_gone_at_once() {
    let (mut cluster, mut heard) = whole(&bank());
    let mut ending = pod("account-1", "account", "10.0.0.1");
    ending["metadata"]["deletionTimestamp"] = json!("2026-11-30T15:00:00Z");
    cluster.put(Watched::Pods, &ending);
    heard.hear(&mut cluster);
    assert_eq!(
        heard.of("bank/account").into_keys().collect::<Vec<_>>(),
        ["account-2"]
    );
    let mut slice = slice(
        "account",
        &[("account-1", "10.0.0.1"), ("account-2", "10.0.0.2")],
    );
    slice["endpoints"][1]["conditions"] =
        json!({"ready": false, "serving": true, "terminating": true});
    cluster.put(Watched::Slices, &slice);
    heard.hear(&mut cluster);
    assert!(heard.of("bank/account").is_empty());
    assert_eq!(
        heard.keys(Kind::Workload),
        ["account"],
        "they still call others, as whom they are"
    );
    assert_eq!(heard.configurations, 1, "who is where is no configuration");
}

#[test]
fn readiness_is_what_the_slice_says() {
    let (mut cluster, mut heard) = whole(&bank());
    let mut slice = slice(
        "account",
        &[("account-1", "10.0.0.1"), ("account-2", "10.0.0.2")],
    );
    slice["endpoints"][0]["conditions"]["ready"] = json!(false);
    slice["endpoints"][1]["conditions"] = Value::Null;
    cluster.put(Watched::Slices, &slice);
    heard.hear(&mut cluster);
    let places = heard.of("bank/account");
    assert_eq!(
        [places["account-1"].ready, places["account-2"].ready],
        [false, true]
    );
}

#[test]
fn an_address_is_believed_of_the_pod_and_not_of_the_slice() {
    let mut objects = bank();
    objects[1].1 = vec![slice("account", &[("account-1", "192.0.2.66")])];
    let (_, heard) = whole(&objects);
    let places = heard.of("bank/account");
    assert_eq!(
        places["account-1"].address,
        "10.0.0.1:15006".parse().expect("valid")
    );
    // Without a name for it, its address says which pod it is: in plaintext its sidecar would refuse.
    objects[1].1[0]["endpoints"][0] = json!({"addresses": ["10.0.0.2"]});
    let (_, heard) = whole(&objects);
    assert_eq!(
        heard.of("bank/account").into_keys().collect::<Vec<_>>(),
        ["account-2"]
    );
}

#[test]
fn a_pod_whose_sidecar_answers_as_another_service_is_not_called_by_this_one() {
    let mut objects = bank();
    objects[0].1[0]["spec"]["initContainers"][0]["env"][0]["value"] = json!("ledger");
    let (_, heard) = whole(&objects);
    assert_eq!(
        heard.of("bank/account").into_keys().collect::<Vec<_>>(),
        ["account-2"]
    );
    let stranger = heard.strangers.iter().next().expect("told");
    assert_eq!(
        [stranger.0.to_string(), stranger.1.to_string()],
        ["bank/account", "ledger"]
    );
}

#[test]
fn pods_that_no_selector_tells_apart_are_one_workload_also_through_a_rollout() {
    let (mut cluster, mut heard) = whole(&bank());
    let before = heard.objects();
    let mut new = pod("account-7c9d-1", "account", "10.0.0.3");
    new["metadata"]["labels"]["pod-template-hash"] = json!("7c9d");
    cluster.put(Watched::Pods, &new);
    cluster.tell(
        Watched::Pods,
        Told::IsNot(("bank".to_owned(), "account-1".to_owned())),
    );
    heard.hear(&mut cluster);
    assert_eq!((heard.objects(), heard.configurations), (before, 1));
    // Somebody selects one version: now it matters.
    let mut canary = service("canary");
    canary["spec"]["selector"] = json!({"app": "account", "pod-template-hash": "7c9d"});
    cluster.put(Watched::Services, &canary);
    heard.hear(&mut cluster);
    let workloads = heard.keys(Kind::Workload);
    assert_eq!(workloads.len(), 2, "{workloads:?}");
    assert!(workloads.contains(&"account".to_owned()));
}

#[test]
fn a_workload_that_somebody_has_written_keeps_its_name_and_its_account() {
    let mut objects = bank();
    let written = json!({
        "metadata": {"name": "account", "namespace": "bank", "labels": {"app": "account"}},
        "spec": {"serviceAccount": "account"},
    });
    objects.push((Watched::Documents(Kind::Workload), vec![written]));
    let (_, heard) = whole(&objects);
    let workloads = heard.keys(Kind::Workload);
    assert_eq!(workloads.len(), 2, "{workloads:?}");
    assert_eq!(heard.parsed.mistakes, []);
    let of_pods = |account: &str| {
        let identity = format!("spiffe://usher.local/ns/bank/sa/{account}");
        heard.placed.is_of_pods(&identity.parse().expect("valid"))
    };
    assert!(
        !of_pods("account"),
        "a machine beside the cluster may be it, too"
    );
    let (_, heard) = whole(&bank());
    let identity = "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid");
    assert!(heard.placed.is_of_pods(&identity));
}
