//! Fuzzes deadline headers.
#![no_main]

mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::grpc_timeout(bytes));
