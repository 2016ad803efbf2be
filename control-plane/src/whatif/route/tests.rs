//! What is told of requests; that it is also what is done, the end-to-end module `told` shows.

use usher_config::parse::{Parsed, parse_files};

use super::*;
use crate::{
    compile::{compile, explain},
    registry::World,
};

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {ports: [{name: web, port: 8080, appProtocol: http}, {name: rpc, port: 9090, appProtocol: grpc}]}
---
apiVersion: v1
kind: Service
metadata: {name: beta, namespace: shop}
spec: {ports: [{port: 8080}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop}
spec: {serviceAccount: web}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: tester, namespace: lab}
spec: {serviceAccount: tester}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: split, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: api, port: 8080}]
  rules:
  - name: tagged
    matches: [{headers: [{name: x-beta, value: '1'}]}, {path: {value: /beta}}]
    backendRefs: [{name: beta, port: 8080}]
  - backendRefs:
    - {name: api, port: 8080, weight: 3}
    - {name: beta, port: 8080, weight: 1, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-seen, value: beta}], remove: [x-beta]}}]}
    - {name: api, port: 8080, weight: 0}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ours, namespace: lab}
spec:
  parentRefs: [{group: '', kind: Service, name: api, namespace: shop, port: 8080}]
  rules: [{backendRefs: [{name: api, namespace: shop, port: 8080}]}]
";

struct Told {
    parsed: Parsed,
    compiled: Compiled,
    claims: Option<Claims>,
}

impl Told {
    fn new() -> Self {
        Self::of(MESH, None)
    }

    fn of(mesh: &str, claims: Option<Claims>) -> Self {
        let parsed = parse_files(&[("mesh.yaml".into(), mesh.to_owned())]);
        assert!(!parsed.has_errors(), "{:?}", parsed.mistakes);
        let now = std::time::SystemTime::UNIX_EPOCH;
        let world = World::default()
            .read(&parsed, std::path::Path::new(""), now)
            .world;
        let compiled = compile(&world);
        Self {
            parsed,
            compiled,
            claims,
        }
    }

    fn journey(&self, from: &str, (method, uri): (Method, &str), header: Option<&str>) -> Journey {
        let caller = Caller::named(&self.compiled, from).expect(from);
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header.and_then(|header| header.split_once(": ")) {
            let name: http::HeaderName = name.parse().expect("valid");
            headers.insert(name, value.parse().expect("valid"));
        }
        let imagined = Imagined {
            method,
            uri: uri.parse().expect("valid"),
            headers,
        };
        let known = Known {
            compiled: &self.compiled,
            places: &Places::new(&self.parsed),
            claims: self.claims.as_ref(),
        };
        from_sidecar(known, &caller, &imagined)
    }
}

fn backends(journey: &Journey) -> Vec<(&str, u32, u64)> {
    match &journey.end {
        End::Forwarded { backends } => backends
            .iter()
            .map(|backend| (backend.service.as_str(), backend.weight, backend.of))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_rule_that_takes_it_is_named_and_why_those_before_do_not() {
    let told = Told::new();
    let journey = told.journey("web", (Method::GET, "http://api:8080/"), None);
    let rule = journey.rule.as_ref().expect("a rule");
    assert_eq!(
        (rule.object.as_str(), rule.rule.as_str()),
        ("HTTPRoute shop/split", "1")
    );
    assert_eq!(rule.at.as_deref(), Some("mesh.yaml:31"));
    let [before] = journey.passed_over.as_slice() else {
        panic!("{:?}", journey.passed_over);
    };
    assert_eq!(before.rule.rule, "tagged");
    for said in [
        "its path begins with /beta",
        "the header x-beta is not there",
    ] {
        assert!(before.because.contains(said), "{}", before.because);
    }
    let tagged = told.journey("web", (Method::GET, "http://api:8080/"), Some("x-beta: 1"));
    assert_eq!(tagged.rule.expect("a rule").rule, "tagged");
}

#[test]
fn shares_come_with_what_their_filters_change() {
    let told = Told::new();
    let journey = told.journey("web", (Method::GET, "http://api:8080/"), Some("x-beta: 2"));
    let expected = [("shop/api:8080", 3, 4), ("shop/beta:8080", 1, 4)];
    assert_eq!(backends(&journey), expected);
    let End::Forwarded { backends } = &journey.end else {
        panic!("forwarded");
    };
    assert_eq!(backends[0].headers, [""; 0]);
    assert_eq!(backends[1].headers, ["x-seen: beta", "- x-beta"]);
}

#[test]
fn callers_of_another_namespace_follow_their_own_route() {
    let told = Told::new();
    let theirs = told.journey("tester", (Method::GET, "http://api.shop:8080/"), None);
    assert_eq!(
        theirs.rule.as_ref().expect("a rule").object,
        "HTTPRoute lab/ours"
    );
    assert_eq!(backends(&theirs), [("shop/api:8080", 1, 1)]);
    let unknown = told.journey("tester", (Method::GET, "http://api:8080/"), None);
    assert!(matches!(
        unknown.end,
        End::Refused {
            status: 503,
            flag: "NC",
            ..
        }
    ));
}

#[test]
fn a_port_without_routes_leads_to_the_service_itself() {
    let told = Told::new();
    let journey = told.journey("web", (Method::POST, "http://api:9090/a.B/C"), None);
    assert_eq!((journey.rule, journey.passed_over.len()), (None, 0));
    let several = told.journey("web", (Method::GET, "http://api:1/"), None);
    let End::Refused { because, .. } = several.end else {
        panic!("refused");
    };
    assert!(because.contains("there is 8080, 9090"), "{because}");
}

#[test]
fn a_rule_is_explained_with_what_it_adds() {
    let told = Told::new();
    let (key, number) = Places::new(&told.parsed)
        .number_of_rule("HTTPRoute/shop/split/tagged")
        .expect("a rule");
    assert_eq!(
        (key.to_string().as_str(), number),
        ("HTTPRoute shop/split", 0)
    );
    assert_eq!(explain::rule(&World::default(), &key, number), []);
}

const STAFF: &str = "
---
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: {name: staff, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: api}]
  defaultAction: Deny
  rules: [{from: {claims: [{claim: groups, values: [staff]}]}}]
";

const LOGIN: &str = "
---
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: {name: login, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: api}]
  mode: Required
  jwt: [{issuer: i, audiences: [a], jwks: {uri: 'https://login.test/keys'}}]
";

#[test]
fn who_is_let_in_by_claims_is_told_where_somebody_verifies_them() {
    let said = |group: &str| Some(Claims::from_iter([("groups".to_owned(), group.into())]));
    let verified = format!("{MESH}{STAFF}{LOGIN}");
    let unverified = format!("{MESH}{STAFF}");
    for (mesh, claims, is_let_in) in [
        (&verified, said("staff"), true),
        (&verified, said("guests"), false),
        (&verified, None, false),
        (&unverified, said("staff"), false),
    ] {
        let told = Told::of(mesh, claims.clone());
        let journey = told.journey("web", (Method::GET, "http://api:9090/a.B/C"), None);
        let End::Forwarded { backends } = &journey.end else {
            panic!("{:?}", journey.end);
        };
        let access = backends[0].access.as_ref().expect("a service of ours");
        assert_eq!(access.allowed, is_let_in, "{claims:?}: {access:?}");
    }
}

const NOWHERE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: beta, port: 8080}]
  rules:
  - matches: [{path: {value: /half}}]
    backendRefs: [{name: beta, port: 8080}, {name: missing, port: 8080}]
  - matches: [{path: {value: /none}}]
    backendRefs: [{name: beta, port: 8080, weight: 0}]
";

#[test]
fn a_backend_that_leads_nowhere_has_the_flag_and_the_word_of_the_answer() {
    let told = Told::of(&format!("{MESH}{NOWHERE}"), None);
    let journey = told.journey("web", (Method::GET, "http://beta:8080/half"), None);
    let End::Forwarded { backends } = &journey.end else {
        panic!("{:?}", journey.end);
    };
    let instead = backends[1].instead.as_ref().expect("no service");
    assert_eq!((instead.status, instead.flag), (500, Some("NC")));
    assert!(
        instead.because.starts_with("backend-unresolvable: "),
        "{}",
        instead.because
    );
    assert_eq!(backends[0].instead, None);
    let journey = told.journey("web", (Method::GET, "http://beta:8080/none"), None);
    let End::Refused {
        status,
        flag,
        because,
    } = journey.end
    else {
        panic!("{:?}", journey.end);
    };
    assert_eq!((status, flag), (500, "NC"));
    assert!(because.starts_with("backend-unresolvable: "), "{because}");
}
