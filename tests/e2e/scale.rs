//! Many sidecars on one control plane, in small: everybody is told what concerns it, once, and nobody anything else.
//!
//! The same program measures a large mesh (`usher-load mesh`); here only what is right counts, never how long it took.

use usher_tests::{binary, run};

#[tokio::test]
async fn everybody_is_told_what_concerns_it_and_nobody_anything_else() {
    let folder = tempfile::tempdir().expect("writable");
    let json = folder.path().join("mesh.json");
    let mut arguments: Vec<String> =
        "--machine-network mesh --sidecars 50 --services 20 --endpoints 100 --uses 5 --changes 20 \
         --joins 3 --deploy 20 --deploy-seconds 2 --rounds 0 --settle 0 --json"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    arguments.push(json.display().to_string());
    // It ends with an error if somebody lacks something, has something it did not ask for, or was told for nothing.
    let output = run(&binary("usher-load"), &arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    let seen = std::fs::read(&json).expect("written");
    let seen: serde_json::Value = serde_json::from_slice(&seen).expect("JSON");
    assert_eq!(seen["deploy"]["unconfirmed"], 0, "{seen:#}");
    assert_eq!(seen["lost_leases"], 0, "{seen:#}");
    for changes in ["endpoint_change", "change_for_everybody", "route_change"] {
        assert!(
            seen[changes]["each"]["count"].as_u64() > Some(0),
            "{seen:#}"
        );
    }
}
