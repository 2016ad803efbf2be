//! Slips are said, with what was probably meant.

use super::*;
use crate::status::EndpointReport;

fn services() -> Vec<ServiceReport> {
    let service = |namespace: &str, name: &str, zone: &str| ServiceReport {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        endpoints: vec![EndpointReport {
            instance: "a".to_owned(),
            address: "127.0.0.1:1".parse().expect("valid"),
            healthy: true,
            health_reason: String::new(),
            zone: zone.to_owned(),
            revision: 1,
            listed: false,
        }],
        ..ServiceReport::default()
    };
    let caller = ServiceReport {
        only_calls: true,
        ..service("bank", "teller", "")
    };
    vec![
        service("bank", "account", "west"),
        service("shop", "cart", ""),
        caller,
    ]
}

fn wanted(service: &str) -> Wanted {
    Wanted {
        service: Some(service.to_owned()),
        ..Wanted::default()
    }
}

#[test]
fn a_service_is_named_with_or_without_its_namespace() {
    let all = services();
    for (text, namespace) in [("account", None), ("bank/account", Some("bank".to_owned()))] {
        let filter = wanted(text).filter(&all).expect("there");
        assert_eq!(filter.service.as_deref(), Some("account"));
        assert_eq!(filter.namespace, namespace);
    }
    let unhealthy = Narrowed {
        unhealthy: true,
        ..Narrowed::default()
    };
    assert_eq!(unhealthy.filter(&all).expect("all").healthy, Some(false));
}

#[test]
fn what_is_not_there_is_said_with_what_is_near() {
    let all = services();
    let of_namespace = |namespace: &str, service: Option<&str>| Wanted {
        service: service.map(str::to_owned),
        narrowed: Narrowed {
            namespace: Some(namespace.to_owned()),
            ..Narrowed::default()
        },
    };
    let in_zone = Wanted {
        narrowed: Narrowed {
            zone: Some("wets".to_owned()),
            ..Narrowed::default()
        },
        ..Wanted::default()
    };
    for (wanted, words) in [
        (wanted("acount"), "did you mean account?"),
        (wanted("bnak/account"), "did you mean bank?"),
        (wanted("shop/account"), "but bank/account"),
        (wanted("teller"), "only calls"),
        (of_namespace("shpo", None), "did you mean shop?"),
        (of_namespace("shop", Some("bank/account")), "say one"),
        (in_zone, "did you mean west?"),
    ] {
        let said = wanted.filter(&all).expect_err(words);
        assert_eq!(said.code, exit::USAGE);
        assert!(said.message.contains(words), "{}", said.message);
    }
}
