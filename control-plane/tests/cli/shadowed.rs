//! Routes that lose all of their requests to others, from files.

use super::bench::{MESH, output, stderr, stdout, usher, write};

/// A gateway with two routes for one host, and a policy for the one that gets nothing.
const RIVALS: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: bank }
spec: { gatewayClassName: usher, listeners: [{ name: web, port: 80, protocol: HTTP }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: edge, namespace: bank }
spec: { serviceAccount: edge }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: g1, namespace: bank }
spec:
  parentRefs: [{ name: edge }]
  hostnames: [a.example]
  rules:
  - backendRefs: [{ name: account, port: 50051 }]
";

const SECOND: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: g2, namespace: bank }
spec:
  parentRefs: [{ name: edge }]
  hostnames: [a.example]
  rules:
  - backendRefs: [{ name: account, port: 50051 }]
---
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: patience, namespace: bank }
spec: { targetRefs: [{ kind: HTTPRoute, name: g2 }], timeouts: { request: 7s } }
";

#[test]
fn both_objects_are_named_with_their_lines() {
    let home = tempfile::tempdir().expect("writable");
    let (old, new) = (home.path().join("old.yaml"), home.path().join("mesh.yaml"));
    write(&old, &[MESH, RIVALS].concat());
    write(&new, &[MESH, RIVALS, SECOND].concat());
    let ask = |words: &[&str]| {
        let said = output(usher(home.path()).args(words));
        (said.status.code(), stdout(&said), stderr(&said))
    };
    let mesh = new.to_str().expect("UTF-8");
    let before = old.to_str().expect("UTF-8");
    let told = [
        "Shadowed: HTTPRoute bank/g2 (",
        "mesh.yaml:37)",
        "no request reaches it: rule 0 of HTTPRoute bank/g1 has the same match, `path /…`, and is as old and the first by name",
        "(if this one is accepted before it, it is the other way round)",
        "mesh.yaml:44: asked after ",
        "mesh.yaml:35",
        "Unreachable: TrafficPolicy bank/patience (",
        "mesh.yaml:46)",
        "no request reaches HTTPRoute bank/g2: all of them are taken by rule 0 of HTTPRoute bank/g1",
    ];
    let (code, out, said) = ask(&["validate", mesh]);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("2 warnings:"), "{out}");
    for part in told {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert_eq!(ask(&["validate", "--strict", mesh]).0, Some(1));
    let (_, out, _) = ask(&["validate", "--json", mesh]);
    let document: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let shadowed = &document["conditions"][0];
    assert_eq!(shadowed["reason"], "Shadowed", "{document:#}");
    assert!(
        shadowed["rules"][0]["by"]
            .as_str()
            .is_some_and(|by| by.ends_with("mesh.yaml:35"))
    );

    // What an edit would bring is in its differences.
    let (_, out, _) = ask(&["diff", mesh, "--against", before]);
    assert!(out.contains("Shadowed: HTTPRoute bank/g2"), "{out}");
    let (_, out, _) = ask(&["diff", before, "--against", mesh]);
    assert!(!out.contains("Shadowed"), "{out}");

    // A route that gets nothing says so, instead of what it takes.
    let (code, out, said) = ask(&["explain", "--config", mesh, "HTTPRoute", "bank/g2"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!out.contains("takes path"), "{out}");
    for part in [
        "gets nothing of path /… at listener web of Gateway bank/edge for a.example: rule 0 of HTTPRoute bank/g1 (",
        "mesh.yaml:35) is asked first",
    ] {
        assert!(out.contains(part), "{part} is not in: {out}");
    }
    let (_, out, _) = ask(&["explain", "--config", mesh, "HTTPRoute", "bank/g1"]);
    assert!(
        out.contains("takes path /…") && !out.contains("gets nothing"),
        "{out}"
    );
    let (_, out, _) = ask(&["explain", "--config", mesh, "Gateway", "edge"]);
    assert!(out.contains("gets nothing of path /…"), "{out}");
}
