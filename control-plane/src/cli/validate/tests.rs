//! What is counted, in words.

use super::*;

#[test]
fn two_of_a_kind_are_spelled_as_english_spells_them() {
    for (noun, two) in [
        ("Gateway", "2 Gateways"),
        ("TrafficPolicy", "2 TrafficPolicies"),
        ("Mesh", "2 Meshes"),
        ("HTTPRoute", "2 HTTPRoutes"),
        ("file", "2 files"),
    ] {
        assert_eq!(plural(2, noun), two);
        assert_eq!(plural(1, noun), format!("1 {noun}"));
    }
}
