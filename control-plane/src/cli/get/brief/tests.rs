//! What is left out of YAML, and what is not.

use super::*;

const ENVELOPE: &str = "apiVersion: usher.dev/v1alpha1\n";

fn shown(text: &str) -> String {
    let text = format!("{ENVELOPE}{text}");
    let whole = canonical(&text).expect("valid");
    let brief = brief(&whole);
    assert_eq!(canonical(&brief), Some(whole), "the same object: {brief}");
    brief
}

#[test]
fn what_says_nothing_is_left_out() {
    let text = shown(
        "kind: AccessPolicy\nmetadata: {name: a}\nspec:\n  targetRefs: [{kind: Service, name: a}]\n  \
         rules: [{from: {serviceAccounts: [web]}}]\n",
    );
    assert!(!text.contains("[]") && !text.contains("{}"), "{text}");
    assert!(!text.contains("null") && text.contains("web"), "{text}");
}

#[test]
fn what_is_empty_and_says_something_stays() {
    let target = "metadata: {name: a}\nspec:\n  targetRefs: [{kind: Service, name: a}]\n";
    let breaker = shown(&format!("kind: TrafficPolicy\n{target}  breaker: {{}}\n"));
    assert!(breaker.contains("breaker:"), "{breaker}");
    assert!(!breaker.contains("retry"), "{breaker}");
    let everybody = shown(&format!("kind: AccessPolicy\n{target}  rules: [{{}}]\n"));
    assert!(everybody.contains("rules:"), "{everybody}");
}

#[test]
fn what_cannot_be_read_is_shown_as_it_is() {
    for text in ["kind: Unheard\nspec: {}\n", "a: [", ""] {
        assert_eq!(brief(text), text);
    }
}
