//! Any bytes as configuration: see `checks/yaml.rs` for what must hold.

#![no_main]

#[path = "../checks/yaml.rs"]
mod yaml;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| yaml::check(bytes));
