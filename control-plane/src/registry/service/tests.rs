//! Whose address an address is.

use super::*;

#[test]
fn an_address_is_ones_own_where_one_registers_from_it() {
    let own = |address: &str, from: &str| {
        is_own(
            address.parse().expect("valid"),
            from.parse().expect("valid"),
        )
    };
    assert!(own("10.0.0.7", "10.0.0.7"));
    assert!(own("::ffff:10.0.0.7", "10.0.0.7"), "the same in IPv6");
    assert!(!own("203.0.113.7", "10.0.0.7"));
    // From this machine, which has loopback and not a documentation address.
    assert!(own("127.0.0.5", "127.0.0.1"));
    assert!(!own("203.0.113.7", "127.0.0.1"));
}
