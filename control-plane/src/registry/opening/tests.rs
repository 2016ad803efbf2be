//! Which edits wait for a file that cannot be read.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use usher_config::parse::parse_files;

use crate::registry::{World, world::Reading};

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: account, namespace: bank}
spec: {selector: {app: account}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ledger, namespace: bank}
spec: {selector: {app: account}, ports: [{port: 8080}]}
---
";

const GATEWAY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec: {gatewayClassName: usher, listeners: [{name: web, port: 80, protocol: HTTP}]}
";

const ROUTE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: account}]
  rules:
  - matches: [{path: {value: /orders}}]
    timeouts: {request: 3s}
    backendRefs: [{name: account, port: 8080, weight: 9}, {name: ledger, port: 8080, weight: 0}]
";

const GRPC: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: account}]
  rules:
  - matches: [{method: {service: bank.Accounts}}]
    backendRefs: [{name: account, port: 8080, weight: 9}]
";

const GUARD: &str = "\
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: {name: guard, namespace: bank}
spec:
  targetRefs: [{kind: Service, name: account}, {kind: Service, name: ledger}]
  rules: [{from: {serviceAccounts: [teller]}}]
";

const LIMIT: &str = "\
apiVersion: usher.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: guard, namespace: bank}
spec:
  targetRefs: [{kind: HTTPRoute, name: shop}]
  limits: [{name: all, requests: 1, per: 1s}]
";

const TRAFFIC: &str = "\
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: calm, namespace: bank}
spec: {targetRefs: [{kind: Service, name: account}], timeouts: {request: 3s}}
";

const MESH: &str = "\
apiVersion: usher.dev/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {mtls: {mode: Strict}, outboundTraffic: RegistryOnly}
";

const UNREAD: (&str, &str) = ("z.yaml", "kind: AuthenticationPolicy\nspec: {");

fn read(world: &World, files: &[(&str, &str)]) -> Reading {
    let files = files
        .iter()
        .map(|(name, text)| (name.into(), (*text).into()));
    let files: Vec<(PathBuf, String)> = files.collect();
    world.read(&parse_files(&files), Path::new(""), SystemTime::UNIX_EPOCH)
}

/// A world with the services and `text`.
fn world(text: &str) -> World {
    let reading = read(&World::default(), &[("a.yaml", SERVICES), ("b.yaml", text)]);
    assert!(reading.rejected.is_empty(), "{:?}", reading.rejected);
    reading.world
}

/// Which object, what of it is written otherwise, and whether that waits.
const EDITS: &[(&str, &str, &str, bool)] = &[
    (SERVICES, "port: 8080}", "port: 9090}", true),
    (SERVICES, "app: account", "app: vault", true),
    (
        SERVICES,
        "name: account, namespace: bank}",
        "name: account, namespace: bank, labels: {tier: one}}",
        false,
    ),
    (
        GATEWAY,
        "protocol: HTTP}",
        "protocol: HTTP}, {name: more, port: 81, protocol: HTTP}",
        true,
    ),
    (ROUTE, "value: /orders", "value: /", true),
    (
        ROUTE,
        "{path: {value: /orders}}",
        "{path: {value: /orders}}, {path: {value: /admin}}",
        true,
    ),
    (
        ROUTE,
        "name: ledger, port: 8080, weight: 0",
        "name: ledger, port: 8080, weight: 1",
        true,
    ),
    (
        ROUTE,
        "weight: 0}]",
        "weight: 0}]\n  - backendRefs: [{name: ledger, port: 8080}]",
        true,
    ),
    (
        ROUTE,
        "    timeouts",
        "    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /}}}]\n    timeouts",
        true,
    ),
    (ROUTE, "weight: 9", "weight: 0", false),
    (ROUTE, "request: 3s", "request: 9s", false),
    (GRPC, "service: bank.Accounts", "method: Get", true),
    (GRPC, "weight: 9", "weight: 1", false),
    (GUARD, ", {kind: Service, name: ledger}", "", true),
    (
        GUARD,
        "name: ledger}]",
        "name: ledger}, {kind: Namespace, name: bank}]",
        false,
    ),
    (GUARD, "teller", "ledger", false),
    (TRAFFIC, "3s", "9s", false),
    (MESH, "Strict", "Permissive", true),
    (MESH, "RegistryOnly", "PassThrough", true),
    (MESH, "spec: {", "spec: {pathParameters: Keep, ", true),
    (
        MESH,
        "{name: mesh}",
        "{name: mesh, labels: {tier: one}}",
        false,
    ),
];

#[test]
fn an_edit_that_may_open_something_waits_beside_an_unreadable_file_and_others_do_not() {
    for &(text, from, to, waits) in EDITS {
        let first = if text == SERVICES { TRAFFIC } else { text };
        let before = world(first);
        let services = if text == SERVICES {
            SERVICES.replacen(from, to, 1)
        } else {
            SERVICES.into()
        };
        let edited = first.replacen(from, to, 1);
        assert!(services != SERVICES || edited != first, "{from}");
        let files = [("a.yaml", &*services), ("b.yaml", &*edited)];
        let beside = read(&before, &[files[0], files[1], UNREAD]);
        assert_eq!(
            beside.changed.is_empty(),
            waits,
            "{from} → {to}: {:?}",
            beside.changed
        );
        assert_eq!(
            beside.rejected.len(),
            if waits { 2 } else { 1 },
            "{:?}",
            beside.rejected
        );
        assert!(beside.rejected.iter().filter(|one| one.last_good).count() == usize::from(waits));
        // With the file read, or gone, it comes into force.
        let mended = read(&beside.world, &files);
        assert_eq!(mended.rejected, [], "{from} → {to}");
        assert_eq!(mended.changed.is_empty(), !waits, "{from} → {to}");
    }
}

#[test]
fn what_waits_says_for_which_file() {
    let edited = ROUTE.replace("/orders", "/");
    let files = [("a.yaml", SERVICES), ("b.yaml", &*edited), UNREAD];
    let reading = read(&world(ROUTE), &files);
    let waiting = reading
        .rejected
        .iter()
        .find(|one| one.object == "HTTPRoute bank/shop");
    let waiting = waiting.expect("told");
    assert!(waiting.last_good);
    assert_eq!(waiting.mistakes[0].at, "b.yaml:1:1");
    assert!(
        waiting.mistakes[0].message.contains("z.yaml"),
        "{waiting:?}"
    );
}

#[test]
fn a_route_that_a_guard_is_for_stays_while_it_may_be_in_an_unreadable_file() {
    let both = format!("{ROUTE}---\n{LIMIT}");
    let before = world(&both);
    // Its requests would be a wider route's, without a limit.
    let deleted = [("a.yaml", SERVICES), ("b.yaml", LIMIT), UNREAD];
    let beside = read(&before, &deleted);
    assert_eq!(beside.world.objects, before.objects);
    let said = beside
        .rejected
        .iter()
        .find(|one| one.object == "HTTPRoute bank/shop");
    let said = &said.expect("told").mistakes[0].message;
    assert!(said.contains("z.yaml"), "{said}");
    let later = read(&beside.world, &deleted[..2]);
    assert_eq!(later.world.objects.len(), before.objects.len() - 1);
    // One that nobody guards is nobody's to keep.
    let unguarded = world(ROUTE);
    let beside = read(
        &unguarded,
        &[("a.yaml", SERVICES), ("b.yaml", "# none"), UNREAD],
    );
    assert_eq!(beside.world.objects.len(), unguarded.objects.len() - 1);
}

#[test]
fn a_new_grant_and_a_first_mesh_wait_beside_an_unreadable_file() {
    let grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
        metadata: {name: lent, namespace: bank}\n\
        spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: '', kind: Service}]}\n";
    let before = world(TRAFFIC);
    for new in [grant, MESH] {
        let files = [
            ("a.yaml", SERVICES),
            ("b.yaml", TRAFFIC),
            ("c.yaml", new),
            UNREAD,
        ];
        let beside = read(&before, &files);
        assert_eq!(beside.world.objects, before.objects, "{new}");
        let mended = read(&beside.world, &files[..3]);
        assert_eq!(mended.world.objects.len(), before.objects.len() + 1);
    }
}

#[test]
fn places_of_a_service_wait_for_the_policy_that_may_be_unreadable() {
    let partners = "apiVersion: v1\nkind: Service\nmetadata: {name: partners, namespace: bank}\nspec: {ports: [{port: 443}]}\n";
    let slice = |address: &str, service: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: one, namespace: bank, labels: {{kubernetes.io/service-name: {service}}}}}\n\
             addressType: IPv4\nendpoints: [{{addresses: [{address}]}}]\nports: [{{port: 8443}}]\n"
        )
    };
    let first = slice("10.9.0.7", "partners");
    let before = world(partners);
    let beside = [
        ("a.yaml", SERVICES),
        ("b.yaml", partners),
        ("c.yaml", &*first),
    ];
    let waits = read(&before, &[&beside[..], &[UNREAD]].concat());
    assert_eq!(waits.world.objects, before.objects, "a first slice");
    let listed = read(&waits.world, &beside).world;
    assert_eq!(listed.objects.len(), before.objects.len() + 1);
    for moved in [slice("10.9.0.8", "partners"), slice("10.9.0.7", "ledger")] {
        let beside = [
            ("a.yaml", SERVICES),
            ("b.yaml", partners),
            ("c.yaml", &*moved),
            UNREAD,
        ];
        let waits = read(&listed, &beside);
        assert_eq!(waits.world.objects, listed.objects, "{moved}");
    }
}
