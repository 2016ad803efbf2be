//! Who is called, and how.

use std::{
    path::Path,
    time::{Instant, SystemTime},
};

use usher_config::parse::parse_files;

use super::*;
use crate::{
    compile::compile,
    registry::{World, places::Moved},
};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: account, namespace: bank}\n\
    spec:\n  selector: {app: account}\n  ports: [{port: 80}]\n---\n";
const WORKLOAD: &str = "apiVersion: usher.dev/v1alpha1\nkind: Workload\n\
    metadata: {name: account, namespace: bank, labels: {app: account}}\nspec: {serviceAccount: account}\n---\n";
const PERMISSIVE: &str = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {allowLoosening: true}\n---\n\
    apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: account, namespace: bank}\n\
    spec: {targetRefs: [{kind: Service, name: account}], defaultAction: Allow, mtls: {mode: Permissive}}\n";

fn compiled(texts: &[&str]) -> Compiled {
    let parsed = parse_files(&[("a.yaml".into(), texts.concat())]);
    let read = World::default().read(&parsed, Path::new(""), SystemTime::UNIX_EPOCH);
    assert_eq!(read.rejected, [], "the test's own YAML");
    compile(&read.world)
}

fn service() -> ServiceName {
    "bank/account".parse().expect("valid")
}

fn sidecar(account: &str) -> Place {
    Place {
        address: "10.0.0.1:15006".parse().expect("valid"),
        ready: true,
        zone: String::new(),
        who: Who::Sidecar {
            account: account.parse().expect("valid"),
        },
    }
}

fn alone() -> Place {
    Place {
        address: "10.0.0.9:8080".parse().expect("valid"),
        who: Who::Alone {
            port: usher_config::value::Port::try_from(80).expect("valid"),
        },
        ..sidecar("account")
    }
}

fn instance(address: &str, healthy: bool) -> Instance {
    Instance {
        address: address.parse().expect("valid"),
        address_is_own: false,
        healthy,
        health_reason: String::new(),
        zone: String::new(),
        identity: "spiffe://usher.local/ns/bank/sa/account"
            .parse()
            .expect("valid"),
        revision: 0,
        callers: Default::default(),
    }
}

fn named(instance: &str) -> InstanceName {
    InstanceName {
        service: service(),
        instance: instance.parse().expect("valid"),
    }
}

/// Instances of which the cluster says this; `is_of_pods`: and whose account is pods' alone.
fn placed(places: &[(&str, Place)], is_of_pods: bool) -> Instances {
    let mut instances = Instances::default();
    let places = places.iter().cloned();
    let account = (
        "bank".parse().expect("valid"),
        "account".parse().expect("valid"),
    );
    instances.placed.put(Moved {
        namespaces: ["bank".parse().expect("valid")].into(),
        places: [(
            service(),
            places
                .map(|(name, place)| (name.parse().expect("valid"), place))
                .collect(),
        )]
        .into(),
        accounts: is_of_pods.then_some(account).into_iter().collect(),
        is_all: is_of_pods,
        ..Moved::default()
    });
    instances
}

fn register(instances: &mut Instances, name: &str, instance: Instance) {
    let lease = "lease".to_owned();
    instances
        .register(&named(name), instance, lease, Instant::now())
        .expect("room");
}

/// `name address`, and `!` behind those that are ill.
fn seen(compiled: &Compiled, instances: &Instances) -> Vec<String> {
    let present = present(compiled, instances, &service());
    let words = present.into_iter().map(|one| {
        let Endpoint {
            name,
            address,
            healthy,
            ..
        } = one.endpoint;
        let ill = if healthy { "" } else { "!" };
        format!("{} {address}{ill}", name.instance)
    });
    words.collect()
}

#[test]
fn a_pod_is_where_the_cluster_says_whatever_its_sidecar_has_registered() {
    let compiled = compiled(&[SERVICE, WORKLOAD]);
    let mut instances = placed(&[("a", sidecar("account"))], true);
    assert_eq!(
        seen(&compiled, &instances),
        ["a 10.0.0.1:15006"],
        "ready, before it has registered"
    );
    register(&mut instances, "a", instance("192.0.2.1:15006", true));
    assert_eq!(seen(&compiled, &instances), ["a 10.0.0.1:15006"]);
    register(&mut instances, "a", instance("192.0.2.1:15006", false));
    assert_eq!(
        seen(&compiled, &instances),
        ["a 10.0.0.1:15006!"],
        "its application is ill"
    );
    // A pod that ends: the cluster has no place for it, and its lease lives on.
    let mut instances = placed(&[("a", sidecar("account"))], true);
    register(&mut instances, "b", instance("192.0.2.2:15006", true));
    assert_eq!(seen(&compiled, &instances), ["a 10.0.0.1:15006"]);
}

#[test]
fn who_is_no_pod_registers_as_everywhere() {
    let compiled = compiled(&[SERVICE, WORKLOAD]);
    let mut instances = placed(&[("a", sidecar("account"))], false);
    register(&mut instances, "vm", instance("192.0.2.2:15006", true));
    assert_eq!(
        seen(&compiled, &instances),
        ["vm 192.0.2.2:15006", "a 10.0.0.1:15006"]
    );
}

#[test]
fn a_goodbye_takes_a_pod_out_that_is_still_ready() {
    let compiled = compiled(&[SERVICE, WORKLOAD]);
    let mut instances = placed(&[("a", sidecar("account"))], true);
    register(&mut instances, "a", instance("192.0.2.1:15006", true));
    let identity = instance("192.0.2.1:15006", true).identity;
    instances
        .deregister(&named("a"), "lease", &identity)
        .expect("its lease");
    assert_eq!(seen(&compiled, &instances), [""; 0]);
    register(&mut instances, "a", instance("192.0.2.1:15006", true));
    assert_eq!(seen(&compiled, &instances), ["a 10.0.0.1:15006"]);
}

#[test]
fn a_pod_of_an_account_that_the_service_does_not_expect_is_not_called() {
    let compiled = compiled(&[SERVICE, WORKLOAD]);
    let instances = placed(&[("a", sidecar("intruder"))], true);
    assert_eq!(seen(&compiled, &instances), [""; 0]);
}

#[test]
fn pods_without_sidecars_are_called_where_there_are_no_others_or_plaintext_is_let_in() {
    let places = [("a", sidecar("account")), ("ip", alone())];
    let instances = placed(&places, true);
    let without = compiled(&[SERVICE]);
    assert_eq!(seen(&without, &instances), ["ip 10.0.0.9:8080"]);
    let endpoint = present(&without, &instances, &service()).remove(0);
    assert!(endpoint.is_listed && !endpoint.endpoint.meshed && !endpoint.endpoint.address_is_own);
    let strict = compiled(&[SERVICE, WORKLOAD]);
    assert_eq!(seen(&strict, &instances), ["a 10.0.0.1:15006"]);
    let permissive = compiled(&[SERVICE, WORKLOAD, PERMISSIVE]);
    assert_eq!(
        seen(&permissive, &instances),
        ["a 10.0.0.1:15006", "ip 10.0.0.9:8080"]
    );
}
