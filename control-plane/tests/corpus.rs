//! Replays the fuzzers' corpus as ordinary tests: what once was interesting stays right.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a corpus that cannot be read fails the test"
)]

#[cfg(feature = "kubernetes")]
#[path = "../fuzz/fuzz_targets/admission_checks.rs"]
mod admission_checks;
#[path = "../fuzz/fuzz_targets/checks.rs"]
mod checks;

use std::{fs, path::PathBuf};

/// Each file of a target's corpus, whole and cut at every length.
fn replay(target: &str, check: fn(&[u8])) {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target]
        .iter()
        .collect();
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for end in 0..=bytes.len() {
            check(&bytes[..end]);
        }
    }
}

#[test]
fn questions_about_names_hold() {
    replay("dns", checks::dns);
}

#[cfg(feature = "kubernetes")]
#[test]
fn questions_of_api_servers_hold() {
    replay("admission", admission_checks::admission);
}
