//! A candidate is judged as the source's reading would judge it, and changes nothing.

use serde_json::json;
use usher_config::parse::parse_files;

use super::*;

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {serviceAccount: api}
---
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: first, namespace: shop}
spec:
  targetRefs: [{group: \"\", kind: Service, name: api}]
  timeouts: {request: 1s}
";

fn world() -> World {
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    let reading = World::default().read(&parsed, Path::new(""), SystemTime::UNIX_EPOCH);
    assert_eq!(reading.rejected, []);
    reading.world
}

fn policy(name: &str, target: &str, request: &str) -> Value {
    json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": "shop", "uid": "1"},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": target}],
            "timeouts": {"request": request},
        },
    })
}

fn judged(object: &Value) -> Judged {
    let world = world();
    judge(&world, &located(&world), object, SystemTime::UNIX_EPOCH).0
}

#[test]
fn what_is_right_passes_without_a_word() {
    assert_eq!(judged(&policy("first", "api", "2s")), Judged::default());
}

#[test]
fn each_mistake_is_told_by_its_field() {
    let mut object = policy("first", "api", "fast");
    object["spec"]["breaker"] = json!({"minRequests": "many"});
    let judged = judged(&object);
    let fields: Vec<&str> = judged.mistakes.iter().map(|one| &*one.path).collect();
    assert_eq!(
        fields,
        ["spec.breaker.minRequests", "spec.timeouts.request"]
    );
    assert!(
        judged.mistakes[1]
            .message
            .starts_with("found `fast`, allowed: ")
    );
}

#[test]
fn a_slip_in_a_target_is_refused_where_it_would_take_a_policy_away_and_told_of_where_it_is_new() {
    let edited = judged(&policy("first", "ap", "2s"));
    assert_eq!(edited.mistakes[0].path, "spec.targetRefs[0].name");
    let new = judged(&policy("second", "ap", "2s"));
    assert_eq!(new.mistakes, []);
    assert!(
        new.warnings[0].starts_with("spec.targetRefs[0].name: found "),
        "{new:?}"
    );
}

#[test]
fn what_only_the_compiler_sees_is_a_warning() {
    let second = judged(&policy("second", "api", "2s"));
    assert_eq!(second.mistakes, []);
    let [warning] = second.warnings.as_slice() else {
        panic!("{second:?}");
    };
    assert!(
        warning.starts_with("Conflicted: ") && warning.contains("first"),
        "{warning}"
    );
}

#[test]
fn what_nobody_knows_is_a_warning_and_what_is_no_object_is_refused() {
    let mut object = policy("first", "api", "2s");
    object["spec"]["timeout"] = json!({"request": "1s"});
    let unknown = judged(&object);
    assert_eq!(unknown.mistakes, []);
    assert!(
        unknown.warnings[0].starts_with("spec.timeout: found unknown field"),
        "{unknown:?}"
    );
    object["kind"] = json!("TrafficPolice");
    assert_eq!(judged(&object).mistakes[0].path, "kind");
    for nothing in [json!(null), json!([]), json!("x"), json!({})] {
        let _ = judged(&nothing);
    }
}
