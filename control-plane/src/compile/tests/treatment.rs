//! How an endpoint is chosen, and what goes wrong on purpose.

use usher_config::model::{FaultAnswer, HashKey};

use super::*;

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: a}]
  rules:
  - {name: slow, backendRefs: [{name: a, port: 8080}], matches: [{path: {value: /slow}}]}
  - {name: rest, backendRefs: [{name: a, port: 8080}]}
";

fn policy(kind: &str, name: &str, target: &str, spec: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  \
         targetRefs: [{target}]\n{spec}"
    )
}

const SERVICE: &str = "{kind: Service, name: a}";

#[test]
fn what_a_load_balancer_does_not_say_is_filled_in() {
    let balancer = |spec: &str| {
        let policy = policy("TrafficPolicy", "p", SERVICE, spec);
        let compiled = compile(&world(&[&service("a"), &policy]));
        compiled.services[&named("bank/a")]
            .policy
            .load_balancer
            .clone()
    };
    let rings = balancer("  loadBalancer: {algorithm: RingHash}\n");
    assert_eq!(rings.hash, [HashKey::Source]);
    let slow = balancer("  loadBalancer: {slowStart: {}}\n")
        .slow_start
        .expect("on");
    assert_eq!((slow.window.as_secs(), slow.min_percent.get()), (30, 10));
    assert_eq!(
        balancer("  loadBalancer: {slowStart: {window: 0s}}\n").slow_start,
        None
    );
    let zones = balancer("  loadBalancer: {zones: {failover: [b, c]}}\n")
        .zones
        .expect("on");
    assert_eq!((zones.failover.len(), zones.min_ready.get()), (2, 50));
    assert_eq!(
        balancer("  loadBalancer: {zones: {prefer: Any}}\n").zones,
        None
    );
}

#[test]
fn the_zone_of_a_service_is_that_of_all_its_workloads() {
    let workload = |name: &str, zone: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}, namespace: bank, labels: {{app: a}}}}\n\
             spec: {{serviceAccount: {name}, zone: {zone}}}\n"
        )
    };
    let zone = |second: &str| {
        let texts = [service("a"), workload("one", "z1"), workload("two", second)];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        compile(&world(&texts)).inbound[&named("bank/a")]
            .zone
            .clone()
    };
    assert_eq!((zone("z1").as_str(), zone("z2").as_str()), ("z1", ""));
}

#[test]
fn the_narrowest_fault_holds_alone_until_it_expires() {
    let wide = policy(
        "FaultPolicy",
        "wide",
        SERVICE,
        "  expireAfter: 1m\n  abort: {percent: 5, grpcStatus: UNAVAILABLE}\n",
    );
    let narrow = policy(
        "FaultPolicy",
        "narrow",
        "{kind: HTTPRoute, name: r, sectionName: slow}",
        "  expireAfter: 1h\n  headers: [{name: x, value: y}]\n  delay: {percent: 10, duration: 2s}\n",
    );
    let compiled = compile(&world(&[&service("a"), ROUTE, &wide, &narrow]));
    assert_eq!(compiled.findings, []);
    let service = &compiled.services[&named("bank/a")];
    let fault = service.policy.fault.as_ref().expect("the service's");
    assert_eq!(&*fault.name, "bank/wide");
    let (percent, answer) = fault.abort.expect("written");
    assert_eq!((percent.get(), answer), (5, FaultAnswer::GrpcStatus(14)));
    // Accepted as the third text, at second 3.
    assert_eq!(
        fault.expires_at,
        SystemTime::UNIX_EPOCH + Duration::from_secs(63)
    );
    let faults: Vec<&str> = service
        .routes
        .iter()
        .map(|route| &*route.policy.fault.as_ref().expect("both").name)
        .collect();
    assert_eq!(route_names(&service.routes), ["slow", "rest"]);
    assert_eq!(faults, ["bank/narrow", "bank/wide"]);
    assert!(
        service.routes[0]
            .policy
            .fault
            .as_ref()
            .is_some_and(|fault| fault.abort.is_none())
    );
    assert_eq!(compiled.fault_expiries.len(), 2);
}

#[test]
fn an_edited_fault_begins_anew_and_an_unchanged_one_does_not() {
    let fault = |percent: u8| {
        let spec = format!("  expireAfter: 1m\n  abort: {{percent: {percent}, status: 503}}\n");
        policy("FaultPolicy", "f", SERVICE, &spec)
    };
    let expiry = |world: &World| compile(world).fault_expiries[0].1;
    let read = |world: &World, text: &str, second| {
        let files = [
            ("0.yaml".into(), service("a")),
            ("1.yaml".into(), text.to_owned()),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        world.read(&parse_files(&files), Path::new(""), now).world
    };
    let first = read(&World::default(), &fault(5), 10);
    let same = read(&first, &fault(5), 20);
    assert_eq!(expiry(&first), expiry(&same));
    let edited = read(&same, &fault(6), 30);
    assert_eq!(
        expiry(&edited),
        SystemTime::UNIX_EPOCH + Duration::from_secs(90)
    );
}
