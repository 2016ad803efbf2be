//! A service is explained with all that has a say about it.

use usher_config::parse::{Parsed, parse_files};

use super::*;
use crate::compile::compile;

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: bank}
spec: {ports: [{port: 8080, appProtocol: http}], selector: {app: a}}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: a1, namespace: bank, labels: {app: a}}
spec: {serviceAccount: a}
---
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: patience, namespace: bank}
spec:
  targetRefs: [{kind: HTTPRoute, name: r}, {kind: Service, name: gone}]
  timeouts:
    request: 7s
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: a}]
  rules:
  - matches: [{path: {value: /x}}, {method: PUT}]
    backendRefs: [{name: a, port: 8080}]
    retry: {attempts: 5}
";

struct Read {
    parsed: Parsed,
    world: World,
    compiled: Compiled,
}

impl Read {
    /// Beside the mesh above.
    fn of(more: &str) -> Self {
        let parsed = parse_files(&[("mesh.yaml".into(), format!("{MESH}{more}"))]);
        let now = std::time::SystemTime::UNIX_EPOCH;
        let reading = World::default().read(&parsed, std::path::Path::new(""), now);
        assert_eq!(reading.rejected, []);
        Self {
            compiled: compile(&reading.world),
            world: reading.world,
            parsed,
        }
    }

    fn known<'k>(&'k self, places: &'k Places<'k>) -> Known<'k> {
        Known {
            world: &self.world,
            compiled: &self.compiled,
            places,
        }
    }
}

#[test]
fn everything_that_has_a_say_is_named_with_its_place() {
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    let now = std::time::SystemTime::UNIX_EPOCH;
    let world = World::default()
        .read(&parsed, std::path::Path::new(""), now)
        .world;
    let compiled = compile(&world);
    let places = Places::new(&parsed);
    let known = Known {
        world: &world,
        compiled: &compiled,
        places: &places,
    };
    let told = service(known, &"bank/a".parse().expect("valid")).expect("a service");
    assert_eq!(told.ports, ["8080 http (http)"]);
    assert_eq!(told.workloads[0].at.as_deref(), Some("mesh.yaml:7"));
    let [rule] = told.rules.as_slice() else {
        panic!("{:?}", told.rules);
    };
    assert_eq!(rule.matches, ["path /x…", "path /…, method PUT"]);
    let fields: Vec<_> = rule
        .fields
        .iter()
        .map(|one| (&*one.field, &*one.value))
        .collect();
    assert_eq!(
        fields,
        [("retry.attempts", "5"), ("timeouts.request", "7s")]
    );
    assert_eq!(rule.fields[1].at.as_deref(), Some("mesh.yaml:18"));
    assert_eq!(rule.fields[0].by.as_deref(), Some("HTTPRoute bank/r"));
    assert!(
        told.traffic.iter().all(|one| one.by.is_none()),
        "defaults only"
    );

    let key = world.objects.keys().find(|key| key.kind == Kind::HttpRoute);
    let told = route(known, key.expect("r")).expect("a route");
    assert_eq!(told.parents, ["Service bank/a"]);
    assert_eq!(told.rules.len(), 1);
}

const OUTSIDE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank}
spec: {gatewayClassName: usher, listeners: [{name: web, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: outside, namespace: bank}
spec:
  parentRefs: [{name: edge}]
  hostnames: [bank.example.com]
  rules:
  - {name: open, matches: [{path: {value: /open}}], backendRefs: [{name: a, port: 8080}]}
  - {name: own, backendRefs: [{name: a, port: 8080}]}
---
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: {name: customers, namespace: bank}
spec:
  targetRefs: [{kind: Gateway, name: edge}]
  mode: Optional
  jwt: [{issuer: https://login.example.com, audiences: [bank], jwks: {uri: 'https://login.example.com/keys'}}]
---
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: {name: own, namespace: bank}
spec:
  targetRefs: [{kind: HTTPRoute, name: outside, sectionName: own}]
  mode: Required
  jwt: [{issuer: https://login.example.com, audiences: [bank], jwks: {uri: 'https://login.example.com/keys'}, claimsToHeaders: [{claim: sub, header: x-user}, {claim: tier, header: x-tier}]}]
---
apiVersion: usher.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: crowd, namespace: bank}
spec:
  targetRefs: [{kind: Gateway, name: edge}]
  limits: [{name: each, requests: 5, per: 1s, key: [{source: {}}]}]
---
apiVersion: usher.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: a, namespace: bank}
spec:
  targetRefs: [{kind: Service, group: '', name: a}]
  dryRun: true
  limits: [{name: all, requests: 100, per: 1s, burst: 10, when: {methods: [POST]}}]
";

fn told(all: &[Field]) -> Vec<(&str, &str, &str)> {
    let by = |one: &Field| one.by.clone().unwrap_or_default();
    let by: Vec<String> = all.iter().map(by).collect();
    let by = by.into_iter().map(|by| &*by.leak());
    let fields = all.iter().zip(by);
    fields
        .map(|(one, by)| (one.field.as_str(), one.value.as_str(), by))
        .collect()
}

#[test]
fn ways_in_from_outside_are_told_with_what_stands_before_each_rule() {
    let read = Read::of(OUTSIDE);
    let places = Places::new(&read.parsed);
    let known = read.known(&places);
    let explained = service(known, &"bank/a".parse().expect("valid")).expect("a service");
    assert_eq!(
        told(&explained.guards),
        [(
            "limits.all",
            "100 in 1s, at once 10, only POST, on trial: refuses nothing",
            "RateLimitPolicy bank/a"
        )]
    );
    let [open, own] = explained.entries.as_slice() else {
        panic!("{:?}", explained.entries);
    };
    assert_eq!(open.listener, "web (80 HTTP)");
    assert_eq!((open.rule.as_str(), own.rule.as_str()), ("open", "own"));
    assert_eq!(open.matches, ["bank.example.com: path /open…"]);
    assert_eq!(open.backends, ["1 bank/a:8080"]);
    let keys = "https://login.example.com for bank; its keys are fetched by a control plane";
    let crowd = (
        "limits.each",
        "5 in 1s, by address",
        "RateLimitPolicy bank/crowd",
    );
    let customers = "AuthenticationPolicy bank/customers";
    assert_eq!(
        told(&open.guards),
        [
            ("mode", "Optional (no token: no claims)", customers),
            ("jwt", keys, customers),
            crowd
        ]
    );
    let narrower = "AuthenticationPolicy bank/own";
    assert_eq!(
        told(&own.guards),
        [
            ("mode", "Required (no token: 401)", narrower),
            ("jwt", keys, narrower),
            (
                "jwt.claimsToHeaders",
                "sub into x-user, tier into x-tier of https://login.example.com",
                narrower
            ),
            crowd
        ]
    );
    assert!(
        open.guards[0]
            .at
            .as_deref()
            .is_some_and(|at| at.starts_with("mesh.yaml:"))
    );

    let key = |kind: Kind, name: &str| ObjectKey {
        kind,
        namespace: "bank".parse().expect("valid"),
        name: name.parse().expect("valid"),
    };
    let outside = route(known, &key(Kind::HttpRoute, "outside")).expect("a route");
    assert_eq!(outside.entries, explained.entries);
    let edge = gateway(known, &"bank/edge".parse().expect("valid")).expect("a gateway");
    assert_eq!(edge.entries, explained.entries);
    assert_eq!(edge.listeners, ["web (80 HTTP)"]);
    assert_eq!(edge.guards.len(), 3, "{:?}", edge.guards);
}

const CONNECTIONS: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: bank}
spec: {ports: [{name: one, port: 5432, appProtocol: tcp}, {name: two, port: 5433, appProtocol: tcp}], selector: {app: a}}
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: {name: named, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: db, port: 5433}]
  hostnames: [one.test, two.test]
  rules: [{backendRefs: [{name: db, port: 5433}]}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: rest, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: db, port: 5432}]
  rules: [{name: half, backendRefs: [{name: db, port: 5432, weight: 3}, {name: db, port: 5433}]}]
";

#[test]
fn routes_for_connections_are_told_with_ports_and_host_names() {
    let read = Read::of(CONNECTIONS);
    let places = Places::new(&read.parsed);
    let known = read.known(&places);
    let explained = service(known, &"bank/db".parse().expect("valid")).expect("a service");
    let told: Vec<_> = explained
        .rules
        .iter()
        .map(|rule| {
            (
                rule.object.as_str(),
                rule.rule.as_str(),
                rule.matches.clone(),
            )
        })
        .collect();
    assert!(explained.opaque);
    let fields: Vec<&str> = explained.traffic.iter().map(|one| &*one.field).collect();
    let about_requests = [
        "timeouts.request",
        "retry.codes",
        "retry.replayBufferBytes",
        "limits.maxPendingRequests",
        "limits.maxConcurrentRequests",
    ];
    let of_requests = service(known, &"bank/a".parse().expect("valid")).expect("a service");
    assert!(!of_requests.opaque);
    for field in about_requests {
        assert!(!fields.contains(&field), "{field}");
        assert!(
            of_requests.traffic.iter().any(|one| one.field == field),
            "{field}"
        );
    }
    for field in [
        "timeouts.connect",
        "timeouts.idle",
        "retry.attempts",
        "limits.maxConnections",
    ] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    let named =
        ["one.test", "two.test"].map(|host| format!("TLS connections to port 5433 for {host}"));
    let rest = vec!["connections to port 5432".to_owned()];
    assert_eq!(
        told,
        [
            ("TLSRoute bank/named", "0", named.to_vec()),
            ("TCPRoute bank/rest", "half", rest)
        ]
    );
    assert_eq!(
        explained.rules[1].backends,
        ["3 bank/db:5432", "1 bank/db:5433"]
    );
    assert!(explained.rules.iter().all(|rule| rule.at.is_some()));
    for (kind, name, rules) in [(Kind::TlsRoute, "named", 0), (Kind::TcpRoute, "rest", 1)] {
        let key = ObjectKey {
            kind,
            namespace: "bank".parse().expect("valid"),
            name: name.parse().expect("valid"),
        };
        let told = route(known, &key).expect("a route");
        assert_eq!(told.parents, ["Service bank/db"]);
        assert_eq!(told.rules, explained.rules[rules..=rules]);
    }
}
