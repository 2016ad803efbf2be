//! Any bytes as a question about a name: see `checks.rs` for what must hold.

#![no_main]

mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::dns(bytes));
