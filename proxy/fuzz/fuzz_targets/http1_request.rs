//! Fuzzes a caller's HTTP/1.1 connection.
#![no_main]

mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::http1_request(bytes));
