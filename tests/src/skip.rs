//! What could not be tested here, said where somebody sees it: a test that passes says nothing.

use std::{fs::OpenOptions, io::Write as _};

/// Where `tests/run` collects the reasons.
const COLLECTED: &str = "USHER_TESTS_SKIPPED";

/// Says why a test does nothing, on stderr and in the file that the environment names.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(path) = std::env::var_os(COLLECTED) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{reason}"));
    }
}
