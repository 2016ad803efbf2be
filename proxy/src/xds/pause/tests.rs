//! Who is told when to come waits as long, and no longer than makes sense.

use super::*;

fn pushed_back(millis: &str) -> Status {
    let mut status = Status::unavailable("later");
    let value = millis.parse().expect("text");
    status.metadata_mut().insert(RETRY_PUSHBACK, value);
    status
}

#[test]
fn waits_between_streams_grow_to_ten_seconds_and_stay_random() {
    assert_eq!(backoff(1, 0.0), Duration::from_millis(100));
    assert_eq!(backoff(1, 1.0), Duration::from_millis(200));
    assert_eq!(backoff(100, 1.0), Duration::from_secs(10));
}

#[test]
fn the_moment_that_the_only_control_plane_gives_is_kept_over_its_own_connection() {
    let told = pushed_back("34567");
    for failures in 0..5 {
        let pause = Pause::after(&told, (failures, 1), 0.7);
        let wait = Duration::from_millis(34_567);
        assert_eq!(pause, Pause { wait, stays: true });
    }
    let pause = Pause::after(&pushed_back("99999999999"), (1, 1), 0.0);
    assert_eq!(pause.wait, PUSHBACK_MAX);
}

#[test]
fn others_are_asked_before_anybody_is_waited_for() {
    let told = pushed_back("30000");
    let waits = |failures| Pause::after(&told, (failures, 3), 1.0);
    for (failures, wait) in [(1, 200), (2, 400), (3, 30_000), (4, 1_600), (6, 30_000)] {
        let wait = Duration::from_millis(wait);
        assert_eq!(waits(failures), Pause { wait, stays: false }, "{failures}");
    }
}

#[test]
fn what_is_no_number_is_nothing() {
    for nothing in [
        Status::unavailable("gone"),
        pushed_back("-1"),
        pushed_back("soon"),
    ] {
        let pause = Pause::after(&nothing, (1, 1), 1.0);
        let wait = PAUSE_MIN;
        assert_eq!(pause, Pause { wait, stays: false });
    }
}

#[test]
fn a_stream_follows_calls_within_half_a_minute_and_not_before_its_moment() {
    let now = Instant::now();
    for chance in [0.0, 0.5, 1.0] {
        let mut follows = Follows::new(chance);
        assert!(!follows.is_due(false, now));
        let begins = now + Duration::from_secs(100);
        let due = begins + FOLLOWS_MAX.mul_f64(chance);
        assert_eq!(follows.is_due(true, begins), chance == 0.0);
        let nearly = due.checked_sub(Duration::from_millis(1));
        assert!(chance == 0.0 || !follows.is_due(true, nearly.expect("later")));
        assert!(follows.is_due(true, due));
        // Calls are back: what was is forgotten.
        assert!(!follows.is_due(false, due));
        assert_eq!(follows.is_due(true, due), chance == 0.0);
    }
}
