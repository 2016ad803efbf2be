//! A wrong name is answered with the right one.

use super::*;

fn known() -> Vec<(ServiceName, Vec<Name>)> {
    let one = |service: &str, account: &str| {
        let accounts = if account.is_empty() {
            Vec::new()
        } else {
            vec![account.parse().expect("valid")]
        };
        (service.parse().expect("valid"), accounts)
    };
    vec![
        one("bank/account", "account"),
        one("bank/ledger", ""),
        one("bank/transaction", "payments"),
        one("shop/web", "web"),
    ]
}

#[test]
fn an_unknown_service_is_answered_with_where_it_is_or_what_is_near() {
    for (asked, words) in [
        (
            "bank/acount",
            &[
                "no service bank/acount (did you mean account?)",
                "known in bank: account, ledger",
            ][..],
        ),
        (
            "bank/web",
            &[
                "no service web in the namespace bank, but in shop",
                "--namespace",
            ],
        ),
        (
            "bnk/teller",
            &[
                "nothing in the namespace bnk",
                "known namespaces: bank, shop",
            ],
        ),
        (
            "bank/ledger",
            &[
                "nobody may run bank/ledger",
                "write a Workload in the namespace bank",
            ],
        ),
    ] {
        let said = service(&known(), &asked.parse().expect("valid"));
        for part in words {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }
}

#[test]
fn a_token_for_nobody_is_warned_of() {
    let ask = |namespace: &str, name: &str| {
        let (namespace, name) = (
            namespace.parse().expect("valid"),
            name.parse().expect("valid"),
        );
        account(&known(), &namespace, &name)
    };
    assert_eq!(ask("bank", "payments"), None);
    let said = ask("bank", "payment").expect("unknown");
    assert!(
        said.contains("did you mean payments?") && said.contains("known: payments, account"),
        "{said}"
    );
    let said = ask("shopp", "web").expect("unknown");
    assert!(said.contains("did you mean shop?"), "{said}");
}

#[test]
fn a_long_list_is_cut() {
    let words: Vec<String> = (0..12).map(|number| format!("service-{number}")).collect();
    let said = listed("zzz", words.iter().map(String::as_str).collect());
    assert!(said.ends_with("and 2 more"), "{said}");
}
