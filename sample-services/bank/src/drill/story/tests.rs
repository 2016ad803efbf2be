//! A report says whether the drill held, to people and to programs.

use super::*;

fn report(failures: &[&str]) -> Report {
    Report {
        name: "payment".into(),
        held: failures.is_empty(),
        seconds: 2.5,
        saw: Map::from_iter([("ok".to_owned(), Value::from(1000))]),
        failures: failures.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_document_for_programs_has_the_promised_fields() {
    let reports = |failures| Reports::of(vec![report(failures)], 1, Duration::from_millis(2540));
    let text = serde_json::to_string(&reports(&["not so: it sums up"])).unwrap();
    let expected = r#"{"held":false,"seconds":2.5,"drills":[{"name":"payment","held":false,"seconds":2.5,"saw":{"ok":1000},"failures":["not so: it sums up"]}]}"#;
    assert_eq!(text, expected);
    assert!(reports(&[]).held);
}

#[test]
fn a_drill_that_was_not_played_did_not_hold() {
    let reports = Reports::of(vec![report(&[])], 2, Duration::ZERO);
    assert!(!reports.held);
}

#[test]
fn people_read_the_verdict_first() {
    assert_eq!(report(&[]).for_people(), "payment: held after 2.5 s");
    assert!(
        report(&["x"])
            .for_people()
            .starts_with("payment: DID NOT HOLD")
    );
}
