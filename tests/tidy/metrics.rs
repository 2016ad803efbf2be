//! Metrics are declared in one table, named alike, and every dashboard or alert names one that exists.

use std::collections::BTreeSet;

use super::{assert_none, sources};

/// Names like `usher_requests_total` in string literals of the given text.
fn names(text: &str) -> BTreeSet<String> {
    let pattern = regex::Regex::new(r#""(usher_[a-z0-9_]+)""#).expect("pattern");
    pattern
        .captures_iter(text)
        .map(|capture| capture[1].to_owned())
        .collect()
}

fn declared() -> BTreeSet<String> {
    sources::rust()
        .iter()
        .filter(|s| !s.is_test() && s.path.contains("/src/telemetry/"))
        .flat_map(|source| names(source.shipped()))
        .collect()
}

#[test]
fn a_metric_is_declared_in_a_telemetry_table() {
    let declared = declared();
    assert!(declared.len() >= 10, "found only {declared:?}");
    let mut findings = Vec::new();
    for source in sources::rust()
        .iter()
        .filter(|s| !s.is_test() && s.path.contains("/src/"))
    {
        for name in names(source.shipped()) {
            // Names of crates in log filters look alike.
            let is_crate = matches!(
                name.as_str(),
                "usher_proxy" | "usher_control_plane" | "usher_config"
            );
            if !declared.contains(&name) && !is_crate {
                findings.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert_none("metrics that no telemetry table declares:", &findings);
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let declared = declared();
    let pattern = regex::Regex::new(r"\busher_[a-z0-9_]+").expect("pattern");
    let mut findings = Vec::new();
    for source in sources::with_extensions(&["json", "yaml", "yml"]) {
        if !source.path.starts_with("config/grafana")
            && !source.path.starts_with("config/prometheus")
        {
            continue;
        }
        for name in pattern.find_iter(&source.text).map(|found| found.as_str()) {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|s| name.strip_suffix(s))
                .unwrap_or(name);
            if !declared.contains(name) && !declared.contains(base) {
                findings.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert_none("no such metric:", &findings);
}
