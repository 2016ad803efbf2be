//! What people read is complete at every usual size, fits, and does not depend on colour.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use nix::unistd::Pid;

use super::*;
use crate::{
    instance::{Pids, SidecarAddresses},
    mesh_view::{Breaker, TellerStats, Trouble},
    screen::{
        view::{ControlPlaneRow, Row},
        watch::Rates,
    },
};

const NAMES: [&str; 9] = [
    "account-1",
    "account-2",
    "fraud-detection-1",
    "fraud-rules-1",
    "customer-profile-1",
    "notification-1",
    "reporting-1",
    "transaction-1",
    "teller-1",
];

/// Process ids as long as the kernel makes them.
fn pids(index: i32) -> Pids {
    let first = 4_194_000 + index * 3;
    Pids {
        run: Pid::from_raw(first),
        application: Some(Pid::from_raw(first + 1)),
        sidecar: Some(Pid::from_raw(first + 2)),
    }
}

fn row(index: i32, name: &str) -> Row {
    let address = |port: i32| {
        let port = u16::try_from(20_000 + port * 100 + index).unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    };
    Row {
        name: name.into(),
        pids: Some(pids(index)),
        port: Some(address(0).port()),
        sidecar: Some(SidecarAddresses {
            inbound: Some(address(1)),
            outbound: address(2),
            metrics: address(3),
            admin: PathBuf::from("/s/admin.sock"),
        }),
        sidecar_bytes: Some(9 * 1024 * 1024 + 512 * 1024),
        lacks: None,
    }
}

/// A bank in the middle of its work, with events to tell.
fn view() -> View {
    View {
        uptime: Duration::from_secs(65),
        root: PathBuf::from("/tmp/bank-aBcDeF"),
        is_temporary: true,
        control_plane: ControlPlaneRow {
            pid: Some(Pid::from_raw(4_193_999)),
            grpc: ([127, 0, 0, 1], 29_012).into(),
            http: ([127, 0, 0, 1], 29_010).into(),
            revision: Some(4.0),
        },
        rows: (0..)
            .zip(NAMES)
            .map(|(index, name)| row(index, name))
            .collect(),
        rates: Rates {
            ok: 119.5,
            declined: 10.5,
            failed: 0.0,
            by_model: 90,
            by_rules: 10,
        },
        total: TellerStats {
            ok: 130_000,
            declined: 2_000,
            p50_us: 6_400,
            p99_us: 1_021_000,
            ..Default::default()
        },
        breakers: vec![(
            "transaction-1".into(),
            Breaker {
                service: "fraud-detection.bank".into(),
                state: "Open".into(),
                ..Default::default()
            },
        )],
        events: (0..8)
            .map(|second| format!("12:00:0{second}Z an event {}", "and more ".repeat(20)))
            .collect(),
        troubles: vec![],
    }
}

fn troubled() -> View {
    let trouble = |line: u32| Trouble {
        is_rejected: true,
        object: "TrafficPolicy bank/fraud-detection".into(),
        at: format!("traffic.yaml:{line}:14"),
        message: "spec.breaker.window: found `soon`, allowed: a duration like 10s".into(),
    };
    View {
        troubles: vec![trouble(22), trouble(23)],
        ..view()
    }
}

const SIZES: [(usize, usize); 3] = [(80, 24), (120, 40), (60, 20)];

fn shown(view: &View, (width, height): (usize, usize)) -> String {
    screen(view, Size { width, height }, Paint::new(false)).join("\n")
}

/// What a person must see at every usual size.
fn assert_complete(text: &str) {
    assert_names_all_processes(text);
    assert_contains(
        text,
        &[
            "open 65 s",
            "revision 4",
            "Ctrl-C closes",
            "119.5/s ok",
            "10.5/s declined",
            "0.0/s failed",
            "fraud-detection 90 % fraud-rules 10 %",
            "transaction-1 → fraud-detection.bank: Open",
        ],
    );
}

fn assert_names_all_processes(text: &str) {
    for index in 0..9 {
        let pids = pids(index);
        let (application, sidecar) = (pids.application.unwrap(), pids.sidecar.unwrap());
        let name = NAMES[usize::try_from(index).unwrap()];
        let is_whole = |line: &str| {
            let cells: Vec<_> = line.split_whitespace().take(3).collect();
            cells == [name, &application.to_string(), &sidecar.to_string()]
        };
        assert!(text.lines().any(is_whole), "{name} is missing in\n{text}");
    }
    assert_contains(
        text,
        &[
            "control-plane 4193999",
            "try kill -9 4194007 4194008 ",
            "rules decide",
            "look /tmp/bank-aBcDeF/bin/usher status --server http://127.0.0.1:29010",
        ],
    );
}

/// However wide the columns are, and wherever a command is folded.
fn assert_contains(text: &str, parts: &[&str]) {
    let unfolded = text.replace("\\\n", " ");
    let words = unfolded.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(words.contains(part), "{part:?} is missing in\n{text}");
    }
}

fn assert_fits(text: &str, (width, height): (usize, usize)) {
    assert!(
        text.lines().count() <= height,
        "too high for {height}\n{text}"
    );
    for line in text.lines() {
        assert!(line.chars().count() <= width, "wider than {width}: {line}");
    }
}

#[test]
fn nothing_that_matters_is_lost_on_a_small_terminal() {
    for size in SIZES {
        let text = shown(&view(), size);
        assert_fits(&text, size);
        assert_complete(&text);
    }
}

#[test]
fn a_refused_edit_is_one_line_with_its_place_and_takes_nothing_away() {
    for size in SIZES {
        let text = shown(&troubled(), size);
        assert_fits(&text, size);
        assert_complete(&text);
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("rejected"))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(
            lines[0].contains("traffic.yaml:22:14 spec."),
            "{}",
            lines[0]
        );
        assert!(lines[0].ends_with("+1 more: look, below"), "{}", lines[0]);
    }
}

#[test]
fn on_a_usual_terminal_all_there_is_to_try_is_shown() {
    for size in [(80, 24), (120, 40)] {
        let text = shown(&view(), size);
        for part in [
            "kill -9 4194016",
            "edit /tmp/bank-aBcDeF/config/traffic.yaml",
            "curl -x http://127.0.0.1:20208 http://reporting.bank/v1/totals",
            "http://127.0.0.1:20302/metrics",
            "http://127.0.0.1:29010/v1/status",
            "12:00:07Z an event",
            "130000 ok",
        ] {
            assert!(
                text.contains(part),
                "{part:?} is missing at {size:?} in\n{text}"
            );
        }
    }
    assert!(shown(&view(), (120, 40)).contains("9.5 MiB"));
}

#[test]
fn no_size_is_exceeded_however_odd() {
    for width in (1..140).step_by(7) {
        for height in 0..45 {
            assert_fits(&shown(&troubled(), (width, height)), (width, height));
        }
    }
}

#[test]
fn colour_changes_no_word() {
    let size = Size {
        width: 80,
        height: 24,
    };
    let plain = screen(&troubled(), size, Paint::new(false)).join("\n");
    let coloured = screen(&troubled(), size, Paint::new(true)).join("\n");
    assert!(!plain.contains('\x1b'));
    assert_ne!(plain, coloured);
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn what_a_process_lacks_is_where_its_state_is() {
    let mut view = view();
    view.rows[2].lacks = Some("its sidecar does not answer");
    let text = shown(&view, (80, 24));
    assert!(text.contains("its sidecar does not answer"), "{text}");
}

#[test]
fn a_log_is_told_once_who_runs_where_and_what_to_try() {
    let text = introduction(&view()).join("\n");
    assert_names_all_processes(&text);
    assert_contains(
        &text,
        &[
            "kill -9 4194016",
            "logs /tmp/bank-aBcDeF/logs",
            &format!("kill {}", std::process::id()),
        ],
    );
}

#[test]
fn shares_add_up_to_a_hundred() {
    let mut view = view();
    // 87.5 % and 12.5 %: rounded each for itself, they were 101 %.
    (view.rates.by_model, view.rates.by_rules) = (7, 1);
    assert_contains(
        &shown(&view, (80, 24)),
        &["fraud-detection 87 % fraud-rules 13 %"],
    );
}

#[test]
fn a_status_line_names_what_is_not_well() {
    let mut view = troubled();
    view.rows[2].lacks = Some("ended");
    let line = status_line(&view);
    assert!(!line.contains('\n'));
    for part in [
        "130000 ok",
        "rules 10 %",
        "fraud-detection.bank Open",
        "fraud-detection-1: ended",
        "rejected: 2",
    ] {
        assert!(line.contains(part), "{part:?} is missing in {line}");
    }
}
