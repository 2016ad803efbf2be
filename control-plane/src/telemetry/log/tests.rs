//! Which filters are most likely not meant.

use super::*;

#[test]
fn a_mistyped_level_is_not_taken_for_a_module_without_a_word() {
    for good in [
        "",
        "info",
        "WARN",
        "warn,usher_control_plane::ca=debug",
        "hyper",
        "ca=info",
    ] {
        assert_eq!(misread(good), None, "{good}");
    }
    let said = misread("warn,inof").expect("a mistake");
    assert!(said.contains("did you mean info?"), "{said}");
    let said = misread("usher=loud").expect("a mistake");
    assert!(said.contains("info counts"), "{said}");
}
