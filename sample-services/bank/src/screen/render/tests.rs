//! What people read is complete, and does not depend on colour.

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::{
    instance::{Pids, SidecarAddresses},
    mesh_view::{Breaker, TellerStats},
    screen::{view::ControlPlaneRow, watch::Rates},
};

fn view() -> View {
    let address = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
    let sidecar = SidecarAddresses {
        inbound: Some(address(1)),
        outbound: address(2),
        metrics: address(3),
        admin: PathBuf::from("/s/admin.sock"),
    };
    let pids = Pids {
        run: Pid::from_raw(10),
        application: Some(Pid::from_raw(12)),
        sidecar: Some(Pid::from_raw(11)),
    };
    View {
        uptime: Duration::from_secs(65),
        root: PathBuf::from("/tmp/bank-x"),
        is_temporary: true,
        control_plane: ControlPlaneRow {
            pid: Some(Pid::from_raw(9)),
            grpc: address(15012),
            http: address(15010),
            revision: Some(4.0),
        },
        rows: vec![Row {
            name: "fraud-detection-1".into(),
            pids: Some(pids),
            port: Some(20_001),
            sidecar: Some(sidecar),
            sidecar_bytes: Some(9 * 1024 * 1024 + 512 * 1024),
            lacks: None,
        }],
        rates: Rates {
            ok: 19.5,
            declined: 0.5,
            failed: 0.0,
            by_model: 90,
            by_rules: 10,
        },
        total: TellerStats {
            ok: 1300,
            declined: 20,
            p50_us: 6_400,
            p99_us: 21_000,
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
        events: vec!["12:00:00Z the bank is open".into()],
    }
}

#[test]
fn without_colour_there_is_no_escape_on_the_screen() {
    let text = screen(&view(), Paint::new(false)).join("\n");
    assert!(!text.contains('\x1b'));
    for part in [
        "configuration revision 4",
        "19.5/s ok",
        "fraud-rules 10 %",
        "breaker    transaction-1 → fraud-detection.bank: Open",
        "http://127.0.0.1:3/metrics",
        "9.5 MiB",
        "kill -9 12 11",
        "12:00:00Z the bank is open",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn colour_changes_no_word() {
    let plain = screen(&view(), Paint::new(false)).join("\n");
    let coloured = screen(&view(), Paint::new(true)).join("\n");
    assert_ne!(plain, coloured);
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn a_status_line_names_what_is_not_well() {
    let mut view = view();
    if let Some(row) = view.rows.first_mut() {
        row.lacks = Some("ended");
    }
    let line = status_line(&view);
    assert!(!line.contains('\n'));
    for part in [
        "1300 ok",
        "rules 10 %",
        "fraud-detection.bank Open",
        "fraud-detection-1: ended",
    ] {
        assert!(line.contains(part), "{part:?} is missing in {line}");
    }
}
