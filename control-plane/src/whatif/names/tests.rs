//! A name finds one service, or says which there are.

use super::*;

fn found(text: &str) -> Result<String, String> {
    let known = ["bank/account", "bank/fraud", "shop/account", "shop/search"];
    let known: Vec<ServiceName> = known.map(|name| name.parse().expect("valid")).into();
    find(known.iter(), text, "service").map(ToString::to_string)
}

#[test]
fn a_name_that_only_one_has_needs_no_namespace() {
    assert_eq!(found("fraud").as_deref(), Ok("bank/fraud"));
    assert_eq!(found("shop/account").as_deref(), Ok("shop/account"));
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    for (text, said) in [
        (
            "account",
            "`account` may be bank/account, shop/account: say which",
        ),
        ("fruad", "did you mean bank/fraud?"),
        ("shop/serach", "did you mean shop/search?"),
        ("bnk/fraud", "did you mean bank/fraud?"),
        (
            "zzzzzz",
            "there is bank/account, bank/fraud, shop/account, shop/search",
        ),
    ] {
        let error = found(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
    let nobody: [ServiceName; 0] = [];
    let error = find(nobody.iter(), "web", "service").expect_err("none");
    assert_eq!(error, "there is no service `web`, nor any other");
}
