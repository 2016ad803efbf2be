//! All policies must allow; a broken one denies.

use crate::model::{AccessPolicy, AccessRule, ClaimRule, MtlsMode, PathRule};
use http::Method;
use proptest::prelude::*;

use super::*;

fn policy(name: &str, rules: Vec<AccessRule>) -> AccessPolicy {
    AccessPolicy {
        name: name.into(),
        deny_by_default: true,
        dry_run: false,
        rules,
        invalid: false,
    }
}

fn account(name: &str) -> SpiffeId {
    format!("spiffe://usher.local/ns/bank/sa/{name}")
        .parse()
        .unwrap()
}

fn access<'a>(caller: Option<&'a SpiffeId>, method: &'a Method, path: &'a str) -> Access<'a> {
    Access {
        caller,
        port: "8080".parse().unwrap(),
        http: Some(HttpAccess {
            method,
            path,
            claims: None,
        }),
    }
}

fn denied_by(policies: &[AccessPolicy], access: &Access<'_>) -> Option<String> {
    decide(policies, access)
        .denied_by
        .map(|name| name.to_string())
}

fn from_teller() -> AccessRule {
    let service_accounts = vec![("bank".parse().unwrap(), "teller".parse().unwrap())];
    AccessRule {
        service_accounts,
        ..AccessRule::default()
    }
}

#[test]
fn a_rule_names_who_may() {
    let policies = [policy("bank/only-teller", vec![from_teller()])];
    let (teller, mallory) = (account("teller"), account("mallory"));
    assert_eq!(
        denied_by(&policies, &access(Some(&teller), &Method::GET, "/")),
        None
    );
    for caller in [Some(&mallory), None] {
        let denied = denied_by(&policies, &access(caller, &Method::GET, "/"));
        assert_eq!(denied.as_deref(), Some("bank/only-teller"));
    }
}

#[test]
fn a_rule_names_what_may_be_done() {
    let rule = AccessRule {
        methods: vec![Method::GET],
        paths: vec![
            PathRule::Prefix("/v1/".into()),
            PathRule::Exact("/healthz".into()),
        ],
        ..AccessRule::default()
    };
    let policies = [policy("bank/read", vec![rule])];
    for (method, path, allowed) in [
        (Method::GET, "/v1/payments", true),
        (Method::GET, "/healthz", true),
        (Method::GET, "/healthz/x", false),
        (Method::GET, "/v1", true),
        (Method::GET, "/v1/", true),
        (Method::GET, "/v1beta", false),
        (Method::GET, "/v1;x", true),
        (Method::GET, "/healthz;x", true),
        (Method::GET, "/;x=/healthz", false),
        (Method::GET, "/", false),
        (Method::POST, "/v1/payments", false),
    ] {
        assert_eq!(
            denied_by(&policies, &access(None, &method, path)).is_none(),
            allowed,
            "{method} {path}"
        );
    }
}

#[test]
fn all_policies_must_allow() {
    let policies = [
        policy("bank/a", vec![AccessRule::default()]),
        policy("bank/b", vec![from_teller()]),
    ];
    let mallory = account("mallory");
    let denied = denied_by(&policies, &access(Some(&mallory), &Method::GET, "/"));
    assert_eq!(denied.as_deref(), Some("bank/b"));
}

#[test]
fn a_broken_policy_denies_even_in_dry_run() {
    let broken = AccessPolicy {
        invalid: true,
        dry_run: true,
        ..policy("bank/broken", Vec::new())
    };
    let teller = account("teller");
    assert!(denied_by(&[broken], &access(Some(&teller), &Method::GET, "/")).is_some());
}

#[test]
fn a_dry_run_refuses_nothing_and_tells() {
    let dry = AccessPolicy {
        dry_run: true,
        ..policy("bank/dry", vec![from_teller()])
    };
    let policies = [dry];
    let verdict = decide(&policies, &access(None, &Method::GET, "/")).clone();
    assert_eq!(verdict.denied_by, None);
    assert_eq!(verdict.dry_run.len(), 1);
}

#[test]
fn an_opaque_stream_is_not_allowed_by_rules_about_http() {
    let http_rule = AccessRule {
        methods: vec![Method::GET],
        ..from_teller()
    };
    let teller = account("teller");
    let stream = Access {
        http: None,
        ..access(Some(&teller), &Method::GET, "/")
    };
    assert!(denied_by(&[policy("bank/http", vec![http_rule])], &stream).is_some());
    assert!(denied_by(&[policy("bank/any", vec![from_teller()])], &stream).is_none());
}

#[test]
fn a_rule_about_claims_allows_whose_token_has_them_and_no_stream() {
    let rule = AccessRule {
        claims: vec![ClaimRule {
            claim: "groups".into(),
            values: vec!["admin".to_owned()],
        }],
        ..from_teller()
    };
    let policies = [policy("bank/admins", vec![rule])];
    let (teller, mallory) = (account("teller"), account("mallory"));
    let claims = serde_json::json!({ "groups": ["admin"] });
    let said = |caller, claims| {
        let mut asked = access(Some(caller), &Method::GET, "/");
        asked.http.as_mut().unwrap().claims = claims;
        (
            denied_by(&policies, &asked).is_none(),
            ruling(&policies[0], &asked),
        )
    };
    assert_eq!(
        said(&teller, claims.as_object()),
        (true, Ruling::AllowedBy(0))
    );
    let lacking = |what| (false, Ruling::Denied(vec![what]));
    assert_eq!(said(&mallory, claims.as_object()), lacking(Lacking::Caller));
    assert_eq!(said(&teller, None), lacking(Lacking::Claims));
    let stream = Access {
        http: None,
        ..access(Some(&teller), &Method::GET, "/")
    };
    assert!(denied_by(&policies, &stream).is_some());
}

#[test]
fn strict_wants_a_verified_caller() {
    let teller = account("teller");
    assert!(transport_allowed(MtlsMode::Strict, Some(&teller)));
    assert!(!transport_allowed(MtlsMode::Strict, None));
    assert!(transport_allowed(MtlsMode::Permissive, None));
}

#[test]
fn people_are_told_which_rule_allows_and_what_the_others_lack() {
    let port = AccessRule {
        ports: vec!["9090".parse().unwrap()],
        ..from_teller()
    };
    let http = AccessRule {
        methods: vec![Method::GET],
        paths: vec![PathRule::Exact("/healthz".into())],
        ..AccessRule::default()
    };
    let told = policy("bank/p", vec![from_teller(), port, http]);
    let (teller, mallory) = (account("teller"), account("mallory"));
    for (caller, method, path, expected) in [
        (&teller, Method::GET, "/", Ruling::AllowedBy(0)),
        (&mallory, Method::GET, "/healthz", Ruling::AllowedBy(2)),
        (&mallory, Method::GET, "/", denied(Lacking::Path)),
        (&mallory, Method::PUT, "/healthz", denied(Lacking::Method)),
    ] {
        assert_eq!(
            ruling(&told, &access(Some(caller), &method, path)),
            expected
        );
    }
    let at_port = AccessPolicy {
        rules: told.rules[1..2].to_vec(),
        ..told.clone()
    };
    let asked = access(Some(&teller), &Method::GET, "/");
    assert_eq!(
        ruling(&at_port, &asked),
        Ruling::Denied(vec![Lacking::Port])
    );
    let open = AccessPolicy {
        deny_by_default: false,
        ..at_port
    };
    assert_eq!(ruling(&open, &asked), Ruling::AllowedByDefault);
    let broken = AccessPolicy {
        invalid: true,
        ..open
    };
    assert_eq!(ruling(&broken, &asked), Ruling::Invalid);
}

fn denied(last: Lacking) -> Ruling {
    Ruling::Denied(vec![Lacking::Caller, Lacking::Caller, last])
}

fn any_rule() -> impl Strategy<Value = AccessRule> {
    let ports = prop::sample::subsequence(vec!["8080", "9090"], 0..=2);
    let methods = prop::sample::subsequence(vec![Method::GET, Method::PUT], 0..=2);
    let paths = prop::sample::subsequence(vec!["/", "/a/"], 0..=2);
    (any::<bool>(), ports, methods, paths).prop_map(|(teller, ports, methods, paths)| AccessRule {
        ports: ports.iter().map(|port| port.parse().unwrap()).collect(),
        methods,
        paths: paths
            .iter()
            .map(|path| PathRule::Prefix((*path).into()))
            .collect(),
        ..if teller {
            from_teller()
        } else {
            AccessRule::default()
        }
    })
}

proptest! {
    #[test]
    fn what_people_are_told_is_what_is_done(
        rules in prop::collection::vec(any_rule(), 0..4),
        (deny_by_default, invalid, known) in any::<(bool, bool, bool)>(),
        path in prop::sample::select(vec!["/", "/a", "/b"]),
    ) {
        let policy = AccessPolicy { deny_by_default, invalid, ..policy("bank/p", rules) };
        let caller = account(if known { "teller" } else { "mallory" });
        let asked = access(Some(&caller), &Method::GET, path);
        let told = match ruling(&policy, &asked) {
            Ruling::AllowedBy(_) | Ruling::AllowedByDefault => true,
            Ruling::Denied(_) | Ruling::Invalid => false,
        };
        prop_assert_eq!(told, denied_by(&[policy], &asked).is_none());
    }

    #[test]
    fn without_a_matching_rule_nothing_passes_a_denying_policy(path in "/[a-z/]{0,20}", prefix in "/([a-z]{1,3}/){0,2}") {
        let rule = AccessRule { paths: vec![PathRule::Prefix(prefix.clone())], ..AccessRule::default() };
        let allowed = denied_by(&[policy("bank/p", vec![rule])], &access(None, &Method::GET, &path)).is_none();
        // By segments: adding the end that both lack makes it a plain prefix.
        prop_assert_eq!(allowed, format!("{path}/").starts_with(&prefix));
    }
}
