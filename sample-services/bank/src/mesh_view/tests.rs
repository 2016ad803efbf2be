//! What others tell is understood, also when they tell more.

use super::*;

#[test]
fn a_difference_is_of_counts_only() {
    let read = |text| serde_json::from_str::<TellerStats>(text).unwrap();
    let earlier =
        read(r#"{"elapsedMs":1000,"sent":10,"ok":9,"failed":1,"p50Us":5,"engines":{"a":9}}"#);
    let now = read(
        r#"{"elapsedMs":3000,"sent":30,"ok":28,"failed":1,"p50Us":7,"engines":{"a":19,"b":9}}"#,
    );
    let since = now.since(&earlier);
    assert_eq!(
        (since.elapsed_ms, since.sent, since.ok, since.failed),
        (2000, 20, 19, 0)
    );
    assert_eq!(
        (since.engine("a"), since.engine("b"), since.engine("c")),
        (10, 9, 0)
    );
    assert_eq!(since.p50_us, 7);
}

#[test]
fn a_breaker_may_tell_more_than_is_asked() {
    let text = r#"{"service":"fraud-detection.bank","route":null,"state":"Open","generation":3,"openForMs":9}"#;
    let breaker: Breaker = serde_json::from_str(text).unwrap();
    assert_eq!(
        (breaker.service.as_str(), breaker.state.as_str()),
        ("fraud-detection.bank", "Open")
    );
}

#[test]
fn what_was_refused_comes_before_what_merely_does_little() {
    let text = r#"{"revision":{"number":4},"conditions":[{"object":"TrafficPolicy bank/b","reason":"TargetNotFound","message":"no Service bank/x"}],
        "rejected":[{"object":"TrafficPolicy bank/a","lastGood":true,"mistakes":[
            {"at":"traffic.yaml:12:14","path":"spec.breaker.window","message":"found soon"},
            {"at":"traffic.yaml:13:1","path":"","message":"found x"}]}]}"#;
    let troubles = serde_json::from_str::<Complaints>(text).unwrap().troubles();
    let told: Vec<_> = troubles.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "rejected: TrafficPolicy bank/a at traffic.yaml:12:14: spec.breaker.window: found soon",
            "rejected: TrafficPolicy bank/a at traffic.yaml:13:1: found x",
            "look at: TrafficPolicy bank/b: TargetNotFound: no Service bank/x",
        ]
    );
}
