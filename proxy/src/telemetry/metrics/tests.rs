//! Numbers add up over workers, stay bounded, and Prometheus can read them.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use http::StatusCode;
use prometheus::{Registry as Exposition, TextEncoder};

use super::*;
use crate::{clock::Tick, error::Flag};

struct Scraped {
    metrics: Metrics,
    exposition: Exposition,
}

fn scraped() -> Scraped {
    let metrics = Metrics::new(2);
    let exposition = Exposition::new();
    metrics.register(&exposition).unwrap();
    Scraped {
        metrics,
        exposition,
    }
}

impl Scraped {
    fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.exposition.gather())
            .unwrap()
    }

    fn has(&self, line: &str) -> bool {
        self.text().lines().any(|found| found == line)
    }
}

/// One of everything.
fn use_everything(metrics: &Metrics) {
    let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
    metrics
        .requests(outbound, "bank/account", "r", "p")
        .add(0, StatusCode::OK, None);
    metrics
        .request_duration(inbound, "bank/account")
        .observe(1, Duration::from_millis(3));
    metrics.attempts("bank/account").add(0, "success");
    metrics.retries("bank/account").add(0, "retried");
    metrics.breaker_state("bank/account", "").set(2);
    metrics
        .breaker_transitions("bank/account", "")
        .add(0, "open");
    metrics
        .breaker_observed("bank/account", "")
        .add(0, "refused");
    metrics.fallbacks("bank/account").add(0, "open");
    metrics.mirrored("s", "r", "m").add(0, "ok");
    metrics.faults("bank/account").add(0, "abort");
    metrics.ejected_endpoints("bank/account").set(1);
    metrics.ejections("bank/account").add(0, "ejected");
    metrics.connections(inbound, Side::Downstream).add(1);
    metrics
        .tcp_bytes(outbound, "bank/account")
        .add_many(0, "up", 4096);
    metrics.tls_handshakes(inbound).add(0, "full");
    metrics.svid_expiry().set(1_800_000_000);
    metrics.svid_renewals().add(0, "renewed");
    metrics.certificate_expiry("web").set(1_800_000_000);
    metrics.config_revision().set(7);
    metrics.control_plane_contact().set(1_800_000_000);
    metrics.detected().add(0, "http1");
    metrics.connections_ended().add(0, "slow_head");
    metrics.tokens("bank/p").add(0, "believed");
    metrics.rate_limited("bank/p", "logins").add(0, "refused");
    metrics.access_dry_run("bank/p").add(0, 1);
    metrics.access_log_dropped().add(0, 1);
    metrics.internal_errors().add(0, "route");
}

#[test]
fn rows_and_table_are_in_one_order() {
    for (position, (row, _)) in FAMILIES.iter().enumerate() {
        assert_eq!(*row as usize, position, "{row:?}");
    }
}

#[test]
fn workers_are_summed_and_pairs_begin_at_first_use() {
    let scraped = scraped();
    let requests = scraped
        .metrics
        .requests(Direction::Outbound, "bank/account", "r", "p");
    assert!(!scraped.text().contains("usher_requests_total"));
    for worker in [0, 1, usize::MAX] {
        requests.add(worker, StatusCode::OK, None);
    }
    requests.add(0, StatusCode::SERVICE_UNAVAILABLE, Some(Flag::Bo));
    let labels = r#"direction="outbound",service="bank/account",route="r",peer="p""#;
    assert!(scraped.has(&format!(
        r#"usher_requests_total{{{labels},code="200",flag=""}} 3"#
    )));
    assert!(scraped.has(&format!(
        r#"usher_requests_total{{{labels},code="503",flag="BO"}} 1"#
    )));
}

#[test]
fn the_same_labels_are_the_same_series() {
    let scraped = scraped();
    for _ in 0..3 {
        scraped.metrics.attempts("bank/account").add(0, "success");
    }
    assert!(
        scraped.has(r#"usher_upstream_attempts_total{service="bank/account",outcome="success"} 3"#)
    );
}

#[test]
fn durations_fall_into_their_buckets() {
    let scraped = scraped();
    let duration = scraped.metrics.request_duration(Direction::Inbound, "s");
    for millis in [1, 2, 20_000] {
        duration.observe(0, Duration::from_millis(millis));
    }
    let name = "usher_request_duration_seconds";
    let labels = r#"direction="inbound",service="s""#;
    for (le, count) in [
        ("0.0005", 0),
        ("0.001", 1),
        ("0.0025", 2),
        ("15", 2),
        ("+Inf", 3),
    ] {
        assert!(
            scraped.has(&format!(r#"{name}_bucket{{{labels},le="{le}"}} {count}"#)),
            "{le}: {}",
            scraped.text()
        );
    }
    assert!(scraped.has(&format!("{name}_sum{{{labels}}} 20.003")));
}

#[test]
fn series_beyond_the_maximum_become_one() {
    let scraped = scraped();
    let handles: Vec<Requests> = (0..3 * SERIES_MAX)
        .map(|peer| {
            scraped
                .metrics
                .requests(Direction::Inbound, "s", "r", &peer.to_string())
        })
        .collect();
    for handle in &handles {
        handle.add(0, StatusCode::OK, None);
    }
    let text = scraped.text();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("usher_requests_total"))
        .count();
    assert!(lines <= SERIES_MAX as usize + 1, "{lines}");
    assert_eq!(scraped.metrics.0.budget().used(), SERIES_MAX);
    assert!(!scraped.has("usher_series_overflow_total 0"));
    // Nothing is lost: named and overflowing requests add up.
    let sum: u64 = text
        .lines()
        .filter(|line| line.starts_with("usher_requests_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(sum, u64::from(3 * SERIES_MAX));
}

#[test]
fn more_pairs_than_a_series_has_room_for_become_one() {
    let scraped = scraped();
    let requests = scraped.metrics.requests(Direction::Inbound, "s", "r", "p");
    for code in 200..256 {
        requests.add(0, StatusCode::from_u16(code).unwrap(), None);
    }
    assert!(
        scraped
            .text()
            .contains(r#"code="overflow",flag="overflow"} 24"#)
    );
}

#[test]
fn every_way_in_which_an_attempt_can_end_has_room() {
    let scraped = scraped();
    let attempts = scraped.metrics.attempts("bank/account");
    let ends = [
        "ok", "4xx", "5xx", "UF", "UR", "UC", "UPE", "CR", "UT", "UO", "DE", "DC", "LR", "SI",
    ];
    for end in ends {
        attempts.add(0, end);
    }
    let text = scraped.text();
    for end in ends {
        assert!(
            text.contains(&format!("outcome=\"{end}\"")),
            "{end}: {text}"
        );
    }
}

#[test]
fn what_nobody_holds_goes_after_ten_minutes_and_makes_room() {
    let scraped = scraped();
    let held = scraped.metrics.attempts("held");
    held.add(0, "success");
    scraped.metrics.attempts("released").add(0, "success");
    let registry = &scraped.metrics.0;
    let minutes = |count: u64| Tick::from_millis(count * 60_000);
    registry.sweep(minutes(1));
    registry.sweep(minutes(10));
    assert_eq!(registry.budget().used(), 2);
    registry.sweep(minutes(11));
    assert_eq!(registry.budget().used(), 1);
    assert!(!scraped.text().contains("released"));
    held.add(0, "success");
    assert!(scraped.has(r#"usher_upstream_attempts_total{service="held",outcome="success"} 2"#));
}

#[test]
fn names_are_built_as_the_style_says() {
    for (_, family) in &FAMILIES {
        assert!(
            family.name.starts_with("usher_") && family.help.ends_with('?'),
            "{}",
            family.name
        );
        let counts = matches!(family.kind, Kind::Counter | Kind::Outcomes | Kind::Requests);
        assert_eq!(counts, family.name.ends_with("_total"), "{}", family.name);
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    let scraped = scraped();
    use_everything(&scraped.metrics);
    let text = scraped.text();
    for (_, family) in &FAMILIES {
        assert!(
            text.contains(&format!("# TYPE {} ", family.name)),
            "{} is missing",
            family.name
        );
    }
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: promtool is not installed (apt install prometheus)");
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
