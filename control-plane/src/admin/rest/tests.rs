//! Who may read over REST.

mod openapi;

use super::is_own_name;

#[test]
fn only_addresses_and_localhost_are_own_names() {
    for host in [
        "127.0.0.1:15010",
        "localhost",
        "LOCALHOST:1",
        "[::1]:15010",
        "10.0.0.1",
    ] {
        assert!(is_own_name(host), "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example:15010",
        "",
        "localhost.evil.example",
    ] {
        assert!(!is_own_name(host), "{host}");
    }
}
