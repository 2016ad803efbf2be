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
