//! Many sidecars on one control plane, in small: everybody is told what concerns it, once, and nobody anything else.
//!
//! The same program measures a large mesh (`usher-load mesh`); here only what is right counts, never how long it took.

use usher_tests::{binary, run};

/// KiB per connected sidecar. It is 107 here, in a program without optimization and with tables that few share; with it and
/// 5,000 it is under 100 (`tests/load/RESULTS.md`). Half as much more is no noise: it is a buffer for each of them.
const KIB_MAX: f64 = 160.0;

/// What a run with these arguments has seen. It ends with an error if somebody lacks something, has something it did not ask
/// for, or was told for nothing.
fn seen(arguments: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().expect("writable");
    let json = folder.path().join("mesh.json");
    let written = json.display().to_string();
    let arguments = "--machine-network mesh --rounds 0"
        .split_whitespace()
        .chain(arguments.split_whitespace())
        .chain(["--json", &written]);
    let output = run(&binary("usher-load"), arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    let seen = std::fs::read(&json).expect("written");
    serde_json::from_slice(&seen).expect("JSON")
}

#[tokio::test]
async fn a_connected_sidecar_costs_little_memory() {
    let seen = seen(
        "--sidecars 300 --services 200 --endpoints 2000 --uses 10 --changes 0 --joins 0 --deploy 0 \
         --deploy-seconds 0 --settle 1",
    );
    let each = seen["kib_per_sidecar"].as_f64().expect("measured");
    assert!(each > 0.0 && each < KIB_MAX, "{each} KiB: {seen:#}");
}

#[tokio::test]
async fn everybody_is_told_what_concerns_it_and_nobody_anything_else() {
    let seen = seen(
        "--sidecars 50 --services 20 --endpoints 100 --uses 5 --changes 20 --joins 3 --deploy 20 \
         --deploy-seconds 2 --settle 0",
    );
    assert_eq!(seen["deploy"]["unconfirmed"], 0, "{seen:#}");
    assert_eq!(seen["lost_leases"], 0, "{seen:#}");
    for changes in ["endpoint_change", "change_for_everybody", "route_change"] {
        assert!(
            seen[changes]["each"]["count"].as_u64() > Some(0),
            "{seen:#}"
        );
    }
}
