//! Facts about request bodies.

use super::*;

fn names(problem: Fields) -> Vec<String> {
    problem
        .mistakes
        .into_iter()
        .map(|mistake| mistake.field)
        .collect()
}

#[test]
fn all_mistakes_of_a_body_come_out_together() {
    let body = br#"{"from":"a b","amountCents":1.5,"currency":"eur","colour":"red"}"#;
    let mut fields = Fields::from_body(body).expect("an object");
    assert!(fields.id("from").is_none());
    assert!(fields.id("to").is_none());
    assert!(fields.cents("amountCents").is_none());
    assert!(fields.currency("currency").is_none());
    assert_eq!(fields.text_or_empty("reference"), Some(String::new()));
    fields.note_unknown();
    assert_eq!(
        names(fields),
        ["from", "to", "amountCents", "currency", "colour"]
    );
}

#[test]
fn amounts_are_positive_and_bounded() {
    for (amount, right) in [
        ("1", true),
        ("0", false),
        ("-5", false),
        ("100000000000001", false),
    ] {
        let body = format!(r#"{{"amountCents":{amount}}}"#);
        let mut fields = Fields::from_body(body.as_bytes()).expect("an object");
        assert_eq!(fields.cents("amountCents").is_some(), right, "{amount}");
    }
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for body in ["", "[]", "{", "\"x\""] {
        assert_eq!(
            Fields::from_body(body.as_bytes()).expect_err(body).status(),
            400
        );
    }
}
