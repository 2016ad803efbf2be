//! Deadlines shrink and never grow.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use usher_config::model::Timeouts;

use super::*;

const NOW: Tick = Tick::from_millis(1000);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn millis(deadline: Deadline) -> Option<u128> {
    deadline.remaining(NOW).map(|left| left.as_millis())
}

#[test]
fn the_earlier_of_caller_and_policy_counts() {
    let timeouts = Timeouts {
        request: Some(Duration::from_secs(1)),
        ..Timeouts::default()
    };
    for (caller, left) in [("5000", 1000), ("1005", 1000), ("500", 495), ("6", 1)] {
        let headers = headers(&[("x-usher-deadline-ms", caller)]);
        assert_eq!(
            millis(Deadline::of(&headers, &timeouts, false, NOW)),
            Some(left),
            "{caller}"
        );
    }
}

#[test]
fn a_deadline_that_has_passed_is_known_on_arrival() {
    for (name, value) in [
        ("x-usher-deadline-ms", "5"),
        ("grpc-timeout", "0n"),
        ("grpc-timeout", "5m"),
    ] {
        let deadline = Deadline::of(&headers(&[(name, value)]), &Timeouts::default(), true, NOW);
        assert_eq!(deadline, Deadline::Expired, "{name}: {value}");
    }
}

#[test]
fn what_is_no_grpc_has_no_grpc_timeout() {
    let headers = headers(&[("grpc-timeout", "1n")]);
    let deadline = Deadline::of(&headers, &Timeouts::default(), false, NOW);
    assert_eq!(millis(deadline), Some(15_000));
}

#[test]
fn grpc_has_no_default_timeout_but_an_explicit_one_holds() {
    let timeouts = Timeouts::default();
    assert_eq!(
        Deadline::of(&HeaderMap::new(), &timeouts, true, NOW),
        Deadline::None
    );
    let explicit = Timeouts {
        request_is_explicit: true,
        ..timeouts
    };
    assert_eq!(
        millis(Deadline::of(&HeaderMap::new(), &explicit, true, NOW)),
        Some(15_000)
    );
}

#[test]
fn an_attempt_has_the_lesser_of_what_is_left_and_its_own_limit() {
    let deadline = Deadline::At {
        tick: NOW + Duration::from_secs(2),
        set_by: SetBy::Policy,
    };
    let second = Some(Duration::from_secs(1));
    assert_eq!(deadline.attempt(second, NOW), second);
    assert_eq!(deadline.attempt(None, NOW), Some(Duration::from_secs(2)));
    assert_eq!(Deadline::None.attempt(second, NOW), second);
    assert_eq!(Deadline::None.attempt(None, NOW), None);
}

#[test]
fn every_attempt_carries_what_is_left() {
    let mut headers = headers(&[
        ("x-envoy-expected-rq-timeout-ms", "9000"),
        ("grpc-timeout", "9S"),
    ]);
    write(&mut headers, Some(Duration::from_millis(1234)), true);
    assert_eq!(headers[DEADLINE], "1234");
    assert_eq!(headers[ENVOY], "1234");
    assert_eq!(headers[GRPC_TIMEOUT], "1234000u");
    write(&mut headers, None, true);
    assert!(headers.is_empty());
}

#[test]
fn grpc_timeouts_are_read_as_the_protocol_says() {
    let cases = [
        ("1H", Some(3_600_000)),
        ("2M", Some(120_000)),
        ("3S", Some(3000)),
        ("4m", Some(4)),
        ("5000u", Some(5)),
        ("6000000n", Some(6)),
        ("99999999H", Some(359_999_996_400_000)),
        ("123456789S", None),
        ("S", None),
        ("", None),
        ("1", None),
        ("1s", None),
        ("-1S", None),
        ("+1S", None),
        (" 1S", None),
    ];
    for (text, expected) in cases {
        let read = parse_grpc_timeout(text.as_bytes()).map(|timeout| timeout.as_millis());
        assert_eq!(read, expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_written_grpc_timeout_is_never_longer_than_what_was_left(nanos: u64) {
        let left = Duration::from_nanos(nanos);
        let written = grpc_timeout(left);
        let read = parse_grpc_timeout(written.as_bytes()).unwrap();
        prop_assert!(read <= left);
        // Eight digits: at most one part in a million is lost, or less than the next unit.
        prop_assert!(left - read <= left / 100_000);
    }

    #[test]
    fn any_header_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        parse_grpc_timeout(&bytes);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert(DEADLINE, value.clone());
            headers.insert(ENVOY, value);
            let deadline = Deadline::of(&headers, &Timeouts::default(), false, NOW);
            prop_assert!(deadline.remaining(NOW).unwrap() <= Duration::from_secs(15));
        }
    }
}
