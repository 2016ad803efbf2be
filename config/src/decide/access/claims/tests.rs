//! What a token does not say plainly it does not say.

use serde_json::json;

use super::*;

fn rule(claim: &str, values: &[&str]) -> ClaimRule {
    ClaimRule {
        claim: claim.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

#[test]
fn a_claim_is_compared_whole() {
    for (claim, said, holds) in [
        ("groups", json!("admin"), true),
        ("groups", json!(["user", "admin"]), true),
        ("groups", json!("admins"), false),
        ("groups", json!("admin user"), false),
        ("groups", json!(["admins", 7]), false),
        ("groups", json!([["admin"]]), false),
        ("groups", json!({ "admin": true }), false),
        ("groups", json!(null), false),
        ("groups", json!([]), false),
        ("scope", json!("read admin"), true),
        ("scope", json!("read administer"), false),
        ("level", json!(3), true),
        ("level", json!("3"), true),
        ("level", json!(3.5), false),
        ("staff", json!(true), true),
        ("staff", json!(false), false),
    ] {
        let claims = Claims::from_iter([(claim.to_owned(), said.clone())]);
        let rules = [rule(claim, &["admin", "3", "true"])];
        assert_eq!(hold(&rules, Some(&claims)), holds, "{claim}: {said}");
    }
}

#[test]
fn all_that_a_rule_asks_for_must_be_said_and_without_a_token_nothing_is() {
    let rules = [rule("iss", &["login"]), rule("groups", &["admin"])];
    let both = json!({ "iss": "login", "groups": ["admin"] });
    let one = json!({ "groups": ["admin"] });
    assert!(hold(&rules, both.as_object()));
    assert!(!hold(&rules, one.as_object()));
    assert!(!hold(&rules, None));
    assert!(hold(&[], None));
}
