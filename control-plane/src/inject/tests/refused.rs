//! Pods that get no sidecar: skipped with the reason, or refused at their line.

use super::*;

#[test]
fn pods_without_a_place_for_a_sidecar_are_skipped_with_the_reason() {
    for (text, reason) in [
        (
            annotated("usher.dev/inject: 'false'"),
            "usher.dev/inject says false",
        ),
        (with("  hostNetwork: yes\n"), "hostNetwork"),
        (with("  os: {name: windows}\n"), "Windows"),
        (POD.replace("name: prepare", "name: istio-proxy"), "Istio"),
        (POD.replace("name: app", "name: linkerd-proxy"), "Linkerd"),
        (POD.replace("name: app", "name: consul-dataplane"), "Consul"),
        (POD.replace("name: app", "name: envoy-sidecar"), "Consul"),
        (injected(POD, &settings()), "our sidecar already"),
    ] {
        let changed = change(&text, Wish::Inject(&settings()));
        assert_eq!((&changed.text, changed.complaints.len()), (&text, 0));
        match &changed.documents[0].items[0].outcome {
            Outcome::Skipped(skip) => assert!(skip.to_string().contains(reason), "{skip}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn whoever_asks_for_a_sidecar_that_cannot_be_is_refused() {
    let asked =
        annotated("usher.dev/inject: 'true'").replace("spec:\n", "spec:\n  hostNetwork: true\n");
    let found = complaints(&asked, &settings());
    assert!(found[0].contains("but hostNetwork"), "{found:?}");
}

/// Text, the line that is wrong, and words of what is said of it.
fn ways_around() -> Vec<(String, u32, &'static str)> {
    vec![
        (
            with("  securityContext: {runAsUser: 1337}\n"),
            9,
            "spec.securityContext.runAsUser: found `1337`",
        ),
        (
            in_container("    securityContext: {runAsUser: 0x539}\n"),
            17,
            "containers[0].securityContext.runAsUser",
        ),
        (
            POD.replace("8080", "15006"),
            18,
            "the sidecar listens on 15001, 15006 and 15020",
        ),
        (
            POD.replace("name: own", "name: usher-token"),
            20,
            "another name",
        ),
        (
            POD.replace("name: prepare", "name: usher-intercept"),
            11,
            "another name",
        ),
        (
            POD.replace(
                "image: \"a:1\"   # pinned",
                "readinessProbe: {httpGet: {port: web}}",
            ),
            16,
            "one that the container names: http",
        ),
        (
            with("  terminationGracePeriodSeconds: soon\n"),
            9,
            "a number of seconds",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: []\n".into(),
            5,
            "at least one container",
        ),
        (
            "\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {}\n".into(),
            3,
            "the template of its pods",
        ),
        (
            POD.replace("namespace: shop", "namespace: shop\n  namespace: bank"),
            7,
            "for the second time",
        ),
        (
            annotated("usher.dev/exclude-inbound-ports: '8000-8080'"),
            7,
            "the port 8080 of the application",
        ),
    ]
}

#[test]
fn what_would_get_around_the_sidecar_is_refused_at_its_line() {
    for (text, line, words) in ways_around() {
        let found = complaints(&text, &settings());
        assert!(
            found.len() == 1
                && found[0].starts_with(&format!("{line}: "))
                && found[0].contains(words),
            "{words}: {found:?}"
        );
        assert_eq!(
            change(&text, Wish::Inject(&settings())).text,
            text,
            "as it was"
        );
    }
}

#[test]
fn annotations_of_the_workload_belong_on_its_pods() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: a
  annotations:
    usher.dev/inject: 'false'
spec: {template: {spec: {containers: [{name: a, image: a}]}}}
";
    let found = complaints(text, &settings());
    assert!(
        found[0].starts_with("6: ") && found[0].contains("spec.template.metadata.annotations"),
        "{found:?}"
    );
}
