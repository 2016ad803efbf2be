//! Any bytes as a resource of the native protocol: see `checks/wire.rs` for what must hold.

#![no_main]

#[path = "../checks/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::check(bytes));
