//! Fuzzes trace headers.
#![no_main]

mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::traceparent(bytes));
