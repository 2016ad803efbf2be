//! Which kept identity a start takes for its own.

use super::*;

fn start(more: &[&str]) -> Bootstrap {
    let minimal = ["usher-proxy", "--service", "web", "--namespace", "shop"];
    let arguments = [&minimal[..], &["--state-dir", "state"], more].concat();
    Bootstrap::read(arguments, &Default::default()).unwrap()
}

#[test]
fn a_kept_identity_is_used_only_for_the_namespace_and_account_that_are_asked_for() {
    let kept: SpiffeId = "spiffe://mesh/ns/shop/sa/web".parse().unwrap();
    let elsewhere = "spiffe://mesh/ns/bank/sa/web".parse().unwrap();
    assert!(is_meant(&kept, &start(&[])));
    assert!(!is_meant(&elsewhere, &start(&[])));
    assert!(is_meant(&kept, &start(&["--service-account", "web"])));
    assert!(!is_meant(&kept, &start(&["--service-account", "batch"])));
}

#[test]
fn a_token_for_another_account_than_the_one_asked_for_ends_the_start() {
    let attested: SpiffeId = "spiffe://mesh/ns/shop/sa/web".parse().unwrap();
    for fits in [&[][..], &["--service-account", "web"]] {
        assert!(must_be_meant(&attested, &start(fits)).is_ok());
    }
    let batch = start(&["--service-account", "batch", "--token-file", "t"]);
    let refused = must_be_meant(&attested, &batch).unwrap_err();
    assert!(refused.is_final());
    assert_eq!(
        refused.to_string(),
        "the join token in t is for spiffe://mesh/ns/shop/sa/web, but --service-account says batch: make one with \
         `usher token create --namespace shop --service-account batch`"
    );
}
