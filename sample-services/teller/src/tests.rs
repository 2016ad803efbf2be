//! Facts about the teller's book-keeping.

use std::time::Duration;

use super::*;
use crate::stats::{Outcome, Phase, Reply};

fn reply(status: u16, engine: &str) -> Reply {
    Reply {
        status,
        outcome: Outcome::of(status, "declined"),
        engine: engine.into(),
        text: "why".into(),
    }
}

#[test]
fn every_answer_is_counted_under_one_heading() {
    let stats = Stats::default();
    let replies = [
        reply(201, "fraud-detection"),
        reply(201, "fraud-rules"),
        reply(202, ""),
        reply(422, "fraud-rules"),
        reply(503, ""),
        reply(0, ""),
    ];
    for _ in 0..7 {
        stats.sent();
    }
    for (millis, reply) in (1..).zip(&replies) {
        stats.answered(reply, Duration::from_millis(millis));
    }
    let seen = stats.snapshot(Phase::Done);
    assert_eq!(
        (seen.ok, seen.pending, seen.declined, seen.failed),
        (2, 1, 1, 2)
    );
    assert_eq!((seen.sent, seen.in_flight, seen.done), (7, 1, true));
    assert_eq!(seen.engines["fraud-rules"], 1);
    assert_eq!(seen.statuses["0"], 1);
    assert_eq!(seen.last_error.as_deref(), Some("0 why"));
    assert_eq!(
        (seen.p50_us, seen.p99_us, seen.max_us),
        (3_000, 6_000, 6_000)
    );
}

#[test]
fn declined_is_only_what_the_bank_decided() {
    assert_eq!(Outcome::of(422, "declined"), Outcome::Declined);
    assert_eq!(Outcome::of(422, "refunded"), Outcome::Declined);
    for (status, payment) in [
        (422, "failed"),
        (422, ""),
        (503, "failed"),
        (503, "pending"),
    ] {
        let outcome = Outcome::of(status, payment);
        assert_eq!(outcome, Outcome::Failed, "{status} {payment}");
    }
}

#[test]
fn the_file_always_holds_a_whole_object() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("stats.json");
    let stats = Stats::default();
    for phase in [Phase::Running, Phase::Done] {
        stats::write(&stats.snapshot(phase), Some(&file));
        let text = std::fs::read_to_string(&file).expect("file");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["done"], phase == Phase::Done);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);
}

#[test]
fn a_teller_needs_two_customers_and_a_short_name() {
    let pairs = [
        ("ACCOUNT_URL", "http://account.bank:50051"),
        ("TRANSACTION_URL", "http://transaction.bank:8080"),
        ("CUSTOMER_URL", "http://customer-profile.bank:8080"),
    ];
    let with = |name: &str, value: &str| {
        let pairs = pairs.iter().copied().chain([(name, value)]);
        let mut environment =
            Environment::from_pairs(pairs.map(|(name, value)| (name.into(), value.into())));
        Settings::read(&mut environment).is_some()
    };
    assert!(with("TELLER_CUSTOMERS", "2"));
    assert!(!with("TELLER_CUSTOMERS", "1"));
    assert!(!with("TELLER_RUN", "a-run-with-a-name-that-is-long"));
    assert!(!with("TELLER_RATE", "many"));
}
