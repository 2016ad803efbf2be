//! What must hold for any bytes that come to the webhook; shared by the fuzz target and by the replay of its corpus.
#![allow(clippy::expect_used, reason = "a check that fails panics")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use usher_control_plane::{
    inject::Settings,
    webhook::{inject::inject, review::Request},
};

/// What is no question is refused in words; a question is answered under its own id, and a patch fits the object that it is for,
/// which then needs no other.
pub(crate) fn admission(bytes: &[u8]) {
    let request = match Request::read(bytes) {
        Ok(request) => request,
        Err(malformed) => return assert!(malformed.to_string().contains("allowed: ")),
    };
    let settings = Settings::default();
    let verdict = inject(request.clone(), &settings);
    let answer: Value = serde_json::from_slice(&verdict.answer(&request.uid)).expect("JSON");
    let response = &answer["response"];
    assert_eq!(response["uid"].as_str(), Some(request.uid.as_str()));
    assert!(response["allowed"] == true || response["status"]["message"].is_string());
    let Some(patch) = response["patch"].as_str() else {
        return;
    };
    let patch = STANDARD.decode(patch).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("RFC 6902");
    let mut again = request;
    json_patch::patch(&mut again.object, &patch).expect("it fits");
    let uid = again.uid.clone();
    let answer = inject(again, &settings).answer(&uid);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert!(answer["response"]["allowed"] == true && answer["response"].get("patch").is_none());
}
