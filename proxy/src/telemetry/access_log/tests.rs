//! Lines are JSON, bounded, and lost only with a count.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::Value;
use usher_config::value::Percent;

use super::{super::metrics::Metrics, *};
use crate::error::Flag;

fn entry<'a>() -> Entry<'a> {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        direction: Direction::Outbound,
        method: "POST",
        authority: "account.bank",
        path: "/v1/payments",
        protocol: "http1",
        status: 200,
        grpc_status: None,
        flags: Flags::default(),
        reason: None,
        detail: None,
        policy: None,
        route: Some("HTTPRoute/bank/r/0"),
        source: Some("spiffe://usher.local/ns/bank/sa/teller"),
        source_service: None,
        destination: None,
        destination_service: Some("bank/account"),
        client: Some([203, 0, 113, 9].into()),
        upstream: Some(([127, 0, 0, 1], 8080).into()),
        attempts: 2,
        request_bytes: 17,
        response_bytes: 4096,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_micros(1)),
        request_id: Some("abc"),
        trace_id: Some(1),
    }
}

fn json(entry: &Entry<'_>) -> Value {
    let mut line = Vec::new();
    line::write(&mut line, entry);
    assert_eq!(line.pop(), Some(b'\n'));
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn a_line_is_json_with_the_documented_fields() {
    let mut flags = Flags::default();
    flags.set(Flag::Urx);
    flags.set(Flag::Fb);
    let line = json(&Entry {
        flags,
        grpc_status: Some(14),
        detail: Some("no root"),
        ..entry()
    });
    let expected: [(&str, Value); 10] = [
        ("detail", "no root".into()),
        ("time", "2023-11-14T22:13:20.123Z".into()),
        ("direction", "outbound".into()),
        ("flags", "URX,FB".into()),
        ("grpc_status", 14.into()),
        ("attempts", 2.into()),
        ("duration_ms", 12.345.into()),
        ("upstream_ms", 0.001.into()),
        ("upstream", "127.0.0.1:8080".into()),
        ("trace_id", "00000000000000000000000000000001".into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field}");
    }
    assert!(line.get("reason").is_none(), "absent things are left out");
}

#[test]
fn settings_select_lines() {
    let mut flagged = Flags::default();
    flagged.set(Flag::Dc);
    let cases = [
        (entry(), false),
        (
            Entry {
                status: 500,
                ..entry()
            },
            true,
        ),
        (
            Entry {
                grpc_status: Some(0),
                ..entry()
            },
            false,
        ),
        (
            Entry {
                grpc_status: Some(5),
                ..entry()
            },
            true,
        ),
        (
            Entry {
                flags: flagged,
                ..entry()
            },
            true,
        ),
    ];
    let errors = Telemetry {
        access_log: AccessLogMode::Errors,
        ..Telemetry::default()
    };
    let off = Telemetry {
        access_log: AccessLogMode::Off,
        ..Telemetry::default()
    };
    let unsampled = Telemetry {
        access_log_sample: Percent::NONE,
        ..Telemetry::default()
    };
    for (entry, is_error) in cases {
        assert!(entry.is_wanted(&Telemetry::default(), 1));
        assert_eq!(entry.is_wanted(&errors, 1), is_error);
        assert!(!entry.is_wanted(&off, 1));
        assert!(!entry.is_wanted(&unsampled, 1));
    }
}

#[test]
fn what_was_logged_is_in_the_file_when_the_log_is_finished() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let metrics = Metrics::new(2);
    let target = Target::File(file.path().to_owned());
    let log = AccessLog::open(target, metrics.access_log_dropped()).unwrap();
    let mut workers = [log.worker(0), log.worker(1)];
    for line in 0..2000 {
        workers[line % 2].log(&entry(), Tick::from_millis(line as u64));
    }
    workers[0].flush_due(Tick::from_millis(5000));
    drop(workers);
    log.finish();
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(text.lines().count(), 2000);
    assert!(
        text.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[test]
fn a_log_that_is_off_costs_and_writes_nothing() {
    let log = AccessLog::open(Target::Off, Metrics::new(1).access_log_dropped()).unwrap();
    let mut worker = log.worker(0);
    worker.log(&entry(), Tick::ZERO);
    assert_eq!(worker.buffer.capacity(), 0);
}

#[test]
fn a_writer_that_is_behind_costs_lines_and_never_memory() {
    let log = AccessLog::open(
        Target::File("/dev/full".into()),
        Metrics::new(1).access_log_dropped(),
    )
    .unwrap();
    let mut worker = log.worker(0);
    // Nobody empties this queue.
    worker.outlet = Some(Outlet::stuck());
    for _ in 0..10_000 {
        worker.log(&entry(), Tick::ZERO);
        assert!(worker.buffer.len() <= BUFFER_MAX);
    }
    assert!(worker.buffer.len() > BUFFER_MAX - 1024);
}

proptest! {
    #[test]
    fn any_text_makes_valid_json_of_bounded_length(path in any::<String>(), authority in "\\PC{0,3000}") {
        let entry = Entry { path: &path, authority: &authority, ..entry() };
        let line = json(&entry);
        prop_assert!(path.starts_with(line["path"].as_str().unwrap()));
        prop_assert!(line["authority"].as_str().unwrap().len() <= 1024);
    }
}
