//! Each effective field is the value of whoever is said to have decided it.

use proptest::prelude::*;
use usher_config::{kind::Kind, parse::parse_files};

use super::*;

/// Policies as people write them; what is `None` is left out.
fn any_spec() -> impl Strategy<Value = String> {
    let choice = |lines: &'static [&'static str]| prop::option::of(prop::sample::select(lines));
    let retry: &[_] = &[
        "  retry: {attempts: 1}",
        "  retry: {codes: []}",
        "  retry: {attempts: 3, backoff: {base: 1s}}",
        "  retry: {codes: [503], grpcStatuses: [UNAVAILABLE]}",
    ];
    let timeouts: &[_] = &[
        "  timeouts: {request: 3s}",
        "  timeouts: {request: 0s, idle: 9s}",
        "  timeouts: {connect: 2s}",
    ];
    let others: &[_] = &[
        "  breaker: {}",
        "  breaker: {minRequests: 7, openFor: 2m}",
        "  ejection: {base: 10m}",
        "  fallback: {when: [Open], response: {status: 200, body: x}}",
        "  fallback: {response: {status: 204}}",
        "  loadBalancer: {algorithm: RingHash, hash: [{header: x-user}]}",
        "  loadBalancer: {zones: {failover: [b, c]}}",
    ];
    let parts = (choice(retry), choice(timeouts), choice(others));
    parts.prop_map(|(a, b, c)| {
        [a, b, c]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn layers(specs: &[String]) -> Vec<Layer<'static>> {
    let layer = |(number, spec): (usize, &String)| {
        let text = format!(
            "apiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p{number}}}\nspec:\n  \
             targetRefs: [{{kind: Namespace, name: default}}]\n{spec}\n"
        );
        let parsed = parse_files(&[("p.yaml".into(), text.clone())]);
        assert!(!parsed.has_errors(), "{text}: {:?}", parsed.mistakes);
        match &parsed.objects[0].object {
            usher_config::kind::Object::TrafficPolicy(policy) => Layer {
                object: parsed.objects[0].object.key(),
                spec: std::borrow::Cow::Owned(policy.spec.clone()),
            },
            other => panic!("{other:?}"),
        }
    };
    specs.iter().enumerate().map(layer).collect()
}

proptest! {
    #[test]
    fn a_field_is_the_narrowest_layers_that_has_it(specs in prop::collection::vec(any_spec(), 0..5)) {
        let layers = layers(&specs);
        for decided in traffic_fields(&layers) {
            let group = if decided.field.starts_with("fallback.") { "fallback" } else { &decided.field };
            let having = |layer: &&Layer<'_>| at(&fields(&layer.spec), group).is_some();
            let raised = RAISED.iter().any(|(_, ceiling)| *ceiling == decided.field);
            match layers.iter().rev().find(having) {
                Some(narrowest) if !raised => {
                    prop_assert_eq!(decided.by.as_ref(), Some(&narrowest.object), "{:?}", decided);
                    let written = fields(&narrowest.spec);
                    let value = at(&written, &decided.field).map(shown);
                    prop_assert_eq!(value.as_ref(), Some(&decided.value), "{:?}", decided);
                }
                None if !raised => prop_assert_eq!(decided.by, None),
                _ => {}
            }
        }
    }
}

#[test]
fn a_ceiling_below_its_floor_is_raised_by_whoever_raised_the_floor() {
    let specs = [
        "  retry: {backoff: {max: 300ms}}",
        "  retry: {backoff: {base: 1s}}",
    ];
    let told = traffic_fields(&layers(&specs.map(ToOwned::to_owned)));
    let max = told
        .iter()
        .find(|one| one.field == "retry.backoff.max")
        .expect("set");
    assert_eq!(max.value, "1s");
    assert_eq!(max.by.as_ref().map(|by| by.name.as_str()), Some("p1"));
    assert_eq!(max.by.as_ref().map(|by| by.kind), Some(Kind::TrafficPolicy));
}

#[test]
fn without_policies_everything_is_a_default() {
    let told = traffic_fields(&[]);
    assert!(told.iter().all(|one| one.by.is_none()));
    let request = told.iter().find(|one| one.field == "timeouts.request");
    assert_eq!(request.map(|one| one.value.as_str()), Some("15s"));
    assert!(
        told.iter().all(|one| !one.field.starts_with("breaker")),
        "never on by itself"
    );
}
