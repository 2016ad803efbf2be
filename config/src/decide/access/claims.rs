//! Whether a verified token says what a rule asks for.

use serde_json::Value;

use crate::model::ClaimRule;

/// All that a verified token says.
pub type Claims = serde_json::Map<String, Value>;

/// RFC 8693 §4.2: one text, words between spaces.
const SCOPE: &str = "scope";

/// Whether all of them do. Without a token nothing is said.
pub(super) fn hold(rules: &[ClaimRule], claims: Option<&Claims>) -> bool {
    rules.iter().all(|rule| {
        let claim = claims.and_then(|claims| claims.get(&*rule.claim));
        claim.is_some_and(|claim| holds(rule, claim))
    })
}

fn holds(rule: &ClaimRule, claim: &Value) -> bool {
    match claim {
        Value::String(text) if &*rule.claim == SCOPE => {
            text.split(' ').any(|word| is_allowed(rule, word))
        }
        Value::String(text) => is_allowed(rule, text),
        Value::Array(entries) => {
            let mut texts = entries.iter().filter_map(Value::as_str);
            texts.any(|text| is_allowed(rule, text))
        }
        Value::Bool(_) | Value::Number(_) => is_allowed(rule, &claim.to_string()),
        Value::Null | Value::Object(_) => false,
    }
}

fn is_allowed(rule: &ClaimRule, text: &str) -> bool {
    rule.values.iter().any(|value| value == text)
}

#[cfg(test)]
mod tests;
