//! Any bytes as a question of an API server: see `admission_checks.rs` for what must hold.

#![no_main]

mod admission_checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| admission_checks::admission(bytes));
