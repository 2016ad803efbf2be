//! The house rules that a machine can check, as a plain test: it reads files and needs no tool.
//!
//! Rules live in STYLE.md; what is allowed to break one, and by how much, lives in `ratchet.yaml`,
//! whose numbers may only go down. Dependency directions live in `edges.yaml`, so a new edge is a visible diff.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic is their way to fail"
)]

mod edges;
mod files;
mod metrics;
mod sources;

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Exceptions to the rules, with today's numbers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratchet {
    /// Lines of files that are longer than 400.
    #[serde(default)]
    long_files: std::collections::BTreeMap<String, usize>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_owned()
}

fn ratchet() -> Ratchet {
    let text =
        std::fs::read_to_string(root().join("tests/tidy/ratchet.yaml")).expect("ratchet.yaml");
    serde_yaml::from_str(&text).expect("ratchet.yaml is valid")
}

/// Fails with every finding at once: one run shows all there is to mend.
fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}
