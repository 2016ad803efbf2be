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
fn one_failure_is_not_nothing_failed() {
    let mut watch = Watch::new();
    assert!(watch.nothing_failed() && !watch.has_paid());
    watch.count(&stats(1, 5, 0), Instant::now());
    assert!(watch.nothing_failed() && watch.has_paid());
    watch.count(&stats(2, 6, 1), Instant::now());
    assert!(!watch.nothing_failed());
}

#[test]
fn a_good_edit_is_an_event() {
    let mut watch = Watch::new();
    for seen in [Some(1.0), None, Some(1.0)] {
        watch.see_revision(seen);
    }
    assert_eq!(watch.news(), Vec::<String>::new());
    watch.see_revision(Some(2.0));
    let news = watch.news();
    assert!(
        matches!(&news[..], [one] if one.ends_with("new configuration: revision 2")),
        "{news:?}"
    );
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

#[test]
fn a_refused_edit_is_told_once_and_so_is_its_mending() {
    let trouble = Trouble {
        is_rejected: true,
        object: "TrafficPolicy bank/a".into(),
        at: "traffic.yaml:12:14".into(),
        message: "found soon".into(),
    };
    let mut watch = Watch::new();
    for _ in 0..3 {
        watch.see_troubles(std::slice::from_ref(&trouble), "usher status");
    }
    let told = watch.news();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("traffic.yaml:12:14: found soon; more: usher status"));
    watch.see_troubles(&[], "usher status");
    watch.see_troubles(&[], "usher status");
    assert_eq!(watch.news().len(), 1);
}

#[test]
fn who_comes_back_is_told_with_its_new_process_ids() {
    let pids = |first| Pids {
        run: Pid::from_raw(first),
        application: Some(Pid::from_raw(first + 1)),
        sidecar: Some(Pid::from_raw(first + 2)),
    };
    let mut watch = Watch::new();
    watch.see_processes([("a-1", pids(10))].into_iter());
    watch.see_processes([("a-1", pids(10))].into_iter());
    assert!(watch.news().is_empty());
    watch.see_processes([("a-1", pids(20))].into_iter());
    assert!(watch.news()[0].ends_with("a-1 is back: pid 21, sidecar 22"));
}

#[test]
fn one_that_was_never_away_is_never_back() {
    let pids = |application: Option<i32>| Pids {
        run: Pid::from_raw(10),
        application: application.map(Pid::from_raw),
        sidecar: Some(Pid::from_raw(12)),
    };
    let mut watch = Watch::new();
    watch.see_processes([("a-1", pids(None))].into_iter());
    watch.see_processes([("a-1", pids(Some(11)))].into_iter());
    assert_eq!(watch.news(), Vec::<String>::new());
}

#[test]
fn a_control_plane_is_back_when_another_one_answers() {
    let mut watch = Watch::new();
    for answering in [Some(10), Some(10), None] {
        watch.see_control_plane(answering.map(Pid::from_raw));
    }
    assert!(watch.news().is_empty());
    watch.see_control_plane(Some(Pid::from_raw(20)));
    watch.see_control_plane(Some(Pid::from_raw(20)));
    let news = watch.news();
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(news[0].ends_with("control-plane is back: pid 20"));
}

#[test]
fn a_payment_that_is_pending_is_one() {
    let mut watch = Watch::new();
    let pending = TellerStats {
        pending: 1,
        ..stats(1_000, 0, 0)
    };
    watch.count(&pending, Instant::now());
    assert!(watch.has_paid());
}
