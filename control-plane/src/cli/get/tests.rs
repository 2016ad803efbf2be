//! What people type, and what they see.

use super::*;

fn condition(of: &str, status: ConditionStatus, reason: &str) -> ConditionReport {
    ConditionReport {
        r#type: of.to_owned(),
        status,
        reason: reason.to_owned(),
        ..ConditionReport::default()
    }
}

fn object(conditions: Vec<ConditionReport>) -> ObjectReport {
    ObjectReport {
        kind: "HTTPRoute".to_owned(),
        namespace: "bank".to_owned(),
        name: "orders".to_owned(),
        revision: 7,
        programmed: 2,
        of: 3,
        conditions,
        ..ObjectReport::default()
    }
}

#[test]
fn a_kind_is_meant_in_any_case_and_in_the_plural() {
    for (text, kind) in [
        ("HTTPRoute", Kind::HttpRoute),
        ("httproutes", Kind::HttpRoute),
        ("gateways", Kind::Gateway),
        ("accesspolicies", Kind::AccessPolicy),
        ("meshes", Kind::Mesh),
        ("services", Kind::Service),
    ] {
        assert_eq!(kind_of(text).expect("known"), kind, "{text}");
    }
    let refused = kind_of("HTPRoute").expect_err("unknown").to_string();
    assert!(refused.contains("did you mean HTTPRoute?"), "{refused}");
}

#[test]
fn an_object_that_nobody_is_connected_for_is_ready_and_one_that_a_sidecar_lacks_is_not() {
    use ConditionStatus::{False, True, Unknown};
    let all = |programmed| {
        object(vec![
            condition("Accepted", True, "Accepted"),
            condition("ResolvedRefs", True, "ResolvedRefs"),
            condition("Programmed", programmed, "word"),
        ])
    };
    assert!(is_ready(&all(True)) && is_ready(&all(Unknown)));
    assert!(!is_ready(&all(False)));
    let partly = object(vec![condition("PartiallyInvalid", True, "Conflicted")]);
    assert!(!is_ready(&partly));
    assert_eq!(why_not(&partly), "Conflicted");
    assert_eq!(row(&all(False))[5..], ["2/3", "7", "word"]);
    let unread = object(vec![
        condition("Accepted", Unknown, "FileUnreadable"),
        condition("Programmed", Unknown, "NoProxies"),
        condition("Warning", True, "Warning"),
    ]);
    assert_eq!(why_not(&unread), "Warning (warning), FileUnreadable");
    let warned = object(vec![
        condition("Accepted", True, "Accepted"),
        condition("Warning", True, "LateFallback"),
    ]);
    assert!(!is_ready(&warned));
    let told = not_ready(&[all(Unknown), warned.clone()]);
    assert_eq!(told, ["HTTPRoute bank/orders: LateFallback (warning)"]);
    assert_eq!(
        row(&warned)[3..],
        ["True", "-", "2/3", "7", "LateFallback (warning)"]
    );
}
