//! Any bytes as a key set of a token issuer: see `checks/jwks.rs` for what must hold.

#![no_main]

#[path = "../checks/jwks.rs"]
mod jwks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jwks::check(bytes));
