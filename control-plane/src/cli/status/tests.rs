//! Which services are said to be down.

use super::*;
use crate::status::Condition;

#[test]
fn a_service_whose_port_was_forgotten_is_down() {
    let service = |name: &str, without_port, only_calls| ServiceReport {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        without_port,
        only_calls,
        ..ServiceReport::default()
    };
    let line = services_line(&[
        service("api", true, false),
        service("gone", false, false),
        service("job", false, true),
    ]);
    for part in [
        "0/2 ready",
        "and 1 that only calls",
        "no healthy instance: shop/api (its sidecars were started without --port), shop/gone",
    ] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

#[test]
fn a_service_that_only_leads_elsewhere_is_not_down_and_says_where() {
    let store = ServiceReport {
        namespace: "shop".to_owned(),
        name: "store".to_owned(),
        leads_to: vec!["shop/one".to_owned(), "shop/two".to_owned()],
        ..ServiceReport::default()
    };
    let line = services_line(&[store]);
    let led = "without instances, led elsewhere: shop/store (to shop/one, shop/two)";
    assert!(line.contains("0/0 ready") && line.contains(led), "{line}");
    assert!(!line.contains("no healthy instance"), "{line}");
}

#[test]
fn whatever_ails_an_object_it_says_where_to_look() {
    let well = StatusReport {
        objects: ObjectsSummary {
            total: 2,
            accepted: 2,
            programmed: 1,
            ..ObjectsSummary::default()
        },
        ..StatusReport::default()
    };
    let hint = "usher get --not-ready";
    let line = |status: &StatusReport| objects_line(status).expect("objects");
    assert!(!line(&well).contains(hint), "{}", line(&well));
    let mut refused = well.clone();
    refused.rejected.push(RejectedObject::default());
    let mut warned = well.clone();
    warned.conditions.push(Condition::default());
    let mut loose = well.clone();
    loose.objects.unresolved = 1;
    let mut behind = well.clone();
    behind.objects.not_programmed = 1;
    for status in [refused, warned, loose, behind] {
        assert!(line(&status).contains(hint), "{status:?}");
    }
    assert_eq!(objects_line(&StatusReport::default()), None);
}
