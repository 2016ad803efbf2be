//! YAML in, what runs out.

mod backend_tls;
mod claims;
mod filters;
mod gateways;
mod guards;
mod policies;
mod precedence;
mod reach;
mod shadow;
mod size;
mod streams;
mod treatment;

use std::{path::Path, time::SystemTime};

use usher_config::{
    model::{BackendTarget, OutboundTraffic, Protocol, Route},
    parse::parse_files,
};

use super::*;

/// A world in which each text was accepted a second after the one before it.
pub(super) fn world(texts: &[&str]) -> World {
    let mut world = World::default();
    for number in 1..=texts.len() {
        let files: Vec<_> = texts[..number]
            .iter()
            .enumerate()
            .map(|(index, text)| (format!("{index}.yaml").into(), (*text).to_owned()))
            .collect();
        let now =
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(number).expect("small"));
        let reading = world.read(&parse_files(&files), Path::new(""), now);
        assert_eq!(reading.rejected, [], "the test's own YAML");
        world = reading.world;
    }
    world
}

pub(super) fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  selector: {{app: {name}}}\n  \
         ports: [{{name: web, port: 8080, appProtocol: http}}, {{name: rpc, port: 50051, appProtocol: grpc}}]\n"
    )
}

pub(super) fn named(text: &str) -> ServiceName {
    text.parse().expect("valid")
}

pub(super) fn route_names(routes: &[Route]) -> Vec<&str> {
    routes
        .iter()
        .map(|route| route.name.rsplit('/').next().expect("a rule"))
        .collect()
}

const WORKLOADS: &str = "
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: a1, namespace: bank, labels: {app: a, version: one}}
spec: {serviceAccount: a, weight: 3, zone: z1, healthCheck: {http: {path: /healthz}, interval: 5s}}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: a2, namespace: bank, labels: {app: a, version: two}}
spec: {serviceAccount: a-next}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: elsewhere, namespace: other, labels: {app: a}}
spec: {serviceAccount: intruder}
";

#[test]
fn a_service_is_its_ports_its_address_and_the_accounts_of_the_workloads_it_selects() {
    let compiled = compile(&world(&[&service("a"), WORKLOADS]));
    let service = &compiled.services[&named("bank/a")];
    let identities: Vec<&str> = service.identities.iter().map(SpiffeId::as_str).collect();
    assert_eq!(
        identities,
        [
            "spiffe://usher.local/ns/bank/sa/a",
            "spiffe://usher.local/ns/bank/sa/a-next"
        ]
    );
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| (port.port.get(), port.protocol))
        .collect();
    assert_eq!(ports, [(8080, Protocol::Http1), (50051, Protocol::Grpc)]);
    assert!(
        service.virtual_addresses[0]
            .to_string()
            .starts_with("240.240.")
    );
    let may = |identity: &str| compiled.may_be(&identity.parse().expect("valid"), &named("bank/a"));
    assert!(may("spiffe://usher.local/ns/bank/sa/a"));
    assert!(
        !may("spiffe://usher.local/ns/other/sa/intruder"),
        "a selector sees its own namespace only"
    );
    assert!(
        !may("spiffe://other.test/ns/bank/sa/a"),
        "another mesh's identity is another's"
    );
    let backing = &compiled.backing[&named("bank/a")][0];
    assert_eq!((backing.weight.get(), backing.zone.as_str()), (3, "z1"));
}

#[test]
fn a_service_that_selects_nobody_is_called_in_plaintext_by_nobodys_name() {
    let compiled = compile(&world(&[&service("b"), WORKLOADS]));
    assert!(compiled.services[&named("bank/b")].identities.is_empty());
    assert!(!compiled.backing.contains_key(&named("bank/b")));
}

#[test]
fn an_inbound_policy_has_the_workloads_health_check_and_the_meshs_telemetry() {
    let mesh = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec:\n  telemetry: {accessLog: {mode: Errors}, tracing: {samplePercent: 7}}\n";
    let compiled = compile(&world(&[mesh, &service("a"), WORKLOADS]));
    let inbound = &compiled.inbound[&named("bank/a")];
    let check = inbound.health_check.as_ref().expect("declared");
    assert_eq!(check.interval, Duration::from_secs(5));
    assert_eq!(check.timeout, Duration::from_secs(1), "the default");
    assert_eq!(inbound.telemetry.trace_sample.get(), 7);
    assert_eq!(
        inbound.telemetry.access_log,
        usher_config::model::AccessLogMode::Errors
    );
    assert!(inbound.access.is_empty());
}

const SPLIT: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: split, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: a, port: 8080}]
  rules:
  - name: only
    backendRefs:
    - {name: a, port: 8080, weight: 9}
    - {name: missing, port: 8080, weight: 1}
    - {name: b, port: 9, weight: 1}
";

#[test]
fn a_backend_that_is_not_there_costs_its_share_and_nothing_else() {
    let compiled = compile(&world(&[&service("a"), &service("b"), SPLIT]));
    let [route] = &compiled.services[&named("bank/a")].routes[..] else {
        panic!("one route")
    };
    assert_eq!(&*route.name, "HTTPRoute/bank/split/only");
    assert_eq!(
        route
            .ports
            .iter()
            .map(|port| port.get())
            .collect::<Vec<_>>(),
        [8080]
    );
    let weights: Vec<u32> = route
        .backends
        .iter()
        .map(|backend| backend.weight.get())
        .collect();
    assert_eq!(weights, [9, 1, 1]);
    assert!(
        matches!(&route.backends[0].target, BackendTarget::Service(target) if target.service == named("bank/a"))
    );
    assert!(
        matches!(&route.backends[1].target, BackendTarget::Invalid(why) if why.contains("bank/missing"))
    );
    assert!(
        matches!(&route.backends[2].target, BackendTarget::Invalid(why) if why.contains("no port 9"))
    );
    assert_eq!(compiled.findings.len(), 2, "{:?}", compiled.findings);
    assert!(
        compiled
            .findings
            .iter()
            .all(|finding| finding.reason == Reason::RefNotResolved)
    );
}

#[test]
fn a_route_without_its_parent_is_reported_and_has_no_effect() {
    let compiled = compile(&world(&[&service("b"), SPLIT]));
    assert!(compiled.services[&named("bank/b")].routes.is_empty());
    assert!(
        compiled
            .findings
            .iter()
            .any(|finding| finding.reason == Reason::TargetNotFound)
    );
}

#[test]
fn the_same_world_compiles_to_the_same_whatever_else_happens() {
    let texts = [service("a"), service("b"), WORKLOADS.into(), SPLIT.into()];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(compile(&world(&texts)), compile(&world(&texts)));
}

#[test]
fn a_workload_that_only_calls_is_known_by_its_own_name() {
    let compiled = compile(&world(&[&service("a"), WORKLOADS]));
    let caller = named("other/elsewhere");
    assert!(!compiled.services.contains_key(&caller));
    assert!(compiled.inbound[&caller].ports.is_empty());
    let own = "spiffe://usher.local/ns/other/sa/intruder"
        .parse()
        .expect("valid");
    assert!(compiled.may_be(&own, &caller));
    assert!(!compiled.may_be(&own, &named("bank/a")));
}

#[test]
fn where_intercepted_connections_may_go_is_the_meshs_word_for_everybody() {
    let mesh = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {outboundTraffic: RegistryOnly}\n";
    let restricted = compile(&world(&[mesh, &service("a"), WORKLOADS]));
    let open = compile(&world(&[&service("a"), WORKLOADS]));
    let of = |compiled: &Compiled| compiled.inbound[&named("bank/a")].outbound;
    assert_eq!(of(&restricted), OutboundTraffic::RegistryOnly);
    assert_eq!(of(&open), OutboundTraffic::PassThrough);
    let everybody = restricted.inbound.values();
    assert!(
        everybody
            .map(|policy| policy.outbound)
            .all(|outbound| outbound == OutboundTraffic::RegistryOnly)
    );
}
