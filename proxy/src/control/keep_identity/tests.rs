//! Which kept identity a start takes for its own.

use super::*;

#[test]
fn a_kept_identity_is_used_only_for_the_namespace_and_account_that_are_asked_for() {
    let start = |more: &[&str]| {
        let minimal = ["usher-proxy", "--service", "web", "--namespace", "shop"];
        let arguments = [&minimal[..], &["--state-dir", "state"], more].concat();
        Bootstrap::read(arguments, &Default::default()).unwrap()
    };
    let kept: SpiffeId = "spiffe://mesh/ns/shop/sa/web".parse().unwrap();
    let elsewhere = "spiffe://mesh/ns/bank/sa/web".parse().unwrap();
    assert!(is_meant(&kept, &start(&[])));
    assert!(!is_meant(&elsewhere, &start(&[])));
    assert!(is_meant(&kept, &start(&["--service-account", "web"])));
    assert!(!is_meant(&kept, &start(&["--service-account", "batch"])));
}
