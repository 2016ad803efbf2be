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
fn the_object_for_programs_has_the_promised_fields() {
    let text = serde_json::to_string(&report(&["not so: it sums up"])).unwrap();
    let expected = r#"{"name":"payment","held":false,"seconds":2.5,"saw":{"ok":1000},"failures":["not so: it sums up"]}"#;
    assert_eq!(text, expected);
}

#[test]
fn people_read_the_verdict_first() {
    assert_eq!(report(&[]).for_people(), "payment: held after 2.5 s\n");
    assert!(
        report(&["x"])
            .for_people()
            .starts_with("payment: DID NOT HOLD")
    );
}
