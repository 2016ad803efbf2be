//! Counts survive a teller that starts again; rates are of the last seconds.

use super::*;

fn stats(elapsed_ms: u64, ok: u64, failed: u64) -> TellerStats {
    TellerStats {
        elapsed_ms,
        ok,
        failed,
        sent: ok + failed,
        ..TellerStats::default()
    }
}

#[test]
fn a_teller_that_starts_again_adds_to_what_was() {
    let mut watch = Watch::new();
    let now = Instant::now();
    watch.count(&stats(9_000, 90, 1), now);
    watch.count(&stats(1_000, 10, 0), now + Duration::from_secs(1));
    assert_eq!((watch.total().ok, watch.total().failed), (100, 1));
    watch.count(&stats(2_000, 20, 0), now + Duration::from_secs(2));
    assert_eq!(watch.total().ok, 110);
}

#[test]
fn rates_are_of_the_last_seconds_only() {
    let mut watch = Watch::new();
    let begun = Instant::now();
    for second in 0..20 {
        // 10 per second, then 50 per second.
        let ok = if second < 10 {
            second * 10
        } else {
            100 + (second - 10) * 50
        };
        watch.count(
            &stats(second * 1000, ok, 0),
            begun + Duration::from_secs(second),
        );
    }
    assert!(
        (watch.rates().ok - 50.0).abs() < 0.001,
        "{:?}",
        watch.rates()
    );
}

#[test]
fn one_failure_or_no_payment_is_not_nothing_failed() {
    let mut watch = Watch::new();
    assert!(!watch.nothing_failed());
    watch.count(&stats(1, 5, 0), Instant::now());
    assert!(watch.nothing_failed());
    watch.count(&stats(2, 6, 1), Instant::now());
    assert!(!watch.nothing_failed());
}

#[test]
fn a_breaker_that_changes_is_an_event() {
    let breaker = |state: &str| Breaker {
        service: "a".into(),
        state: state.into(),
        ..Default::default()
    };
    let mut watch = Watch::new();
    watch.see_breakers(vec![("b".into(), breaker("Closed"))]);
    assert_eq!(watch.events().count(), 0);
    watch.see_breakers(vec![("b".into(), breaker("Open"))]);
    assert!(
        watch
            .events()
            .next()
            .unwrap()
            .ends_with("breaker b → a: Open")
    );
}
