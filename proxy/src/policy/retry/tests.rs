//! Only what cannot do harm is repeated.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use usher_config::model;

use super::*;

const GRPC: RequestTraits = RequestTraits {
    idempotent: false,
    vouched: false,
    grpc: true,
    nested: false,
};
const POST: RequestTraits = RequestTraits {
    idempotent: false,
    vouched: false,
    grpc: false,
    nested: false,
};
const GET: RequestTraits = RequestTraits {
    idempotent: true,
    vouched: false,
    grpc: false,
    nested: false,
};

fn attempt(traits: RequestTraits, failure: AttemptFailure) -> Attempt {
    Attempt {
        traits,
        number: 1,
        failure,
        body_replayable: true,
        trial: false,
        remaining: None,
    }
}

fn status(status: u16) -> AttemptFailure {
    AttemptFailure::Status {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
    }
}

fn grpc(code: u8) -> AttemptFailure {
    AttemptFailure::GrpcStatus {
        code,
        pushback: None,
    }
}

fn is_retried(policy: &model::Retry, attempt: &Attempt) -> bool {
    matches!(decide(policy, attempt, 1), Decision::Retry { .. })
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn only_what_is_safe_is_retried_by_default() {
    let policy = model::Retry::default();
    let cases = [
        (POST, AttemptFailure::ProvablyUnprocessed, true),
        (POST, AttemptFailure::IdleRace, false),
        (POST, status(503), false),
        (POST, AttemptFailure::PerTryTimeout, false),
        (POST, AttemptFailure::Reset, false),
        (GET, AttemptFailure::IdleRace, true),
        (GET, status(502), true),
        (GET, status(503), true),
        (GET, status(504), true),
        (GET, status(500), false),
        (GET, status(429), false),
        (GET, AttemptFailure::PerTryTimeout, true),
        (GET, AttemptFailure::Reset, true),
        (GRPC, AttemptFailure::ProvablyUnprocessed, true),
        (GRPC, grpc(14), false),
        (GRPC, status(503), false),
        (GRPC, AttemptFailure::PerTryTimeout, false),
    ];
    for (traits, failure, retried) in cases {
        assert_eq!(
            is_retried(&policy, &attempt(traits, failure)),
            retried,
            "{traits:?} {failure:?}"
        );
    }
}

#[test]
fn a_server_cannot_hold_a_request_without_a_deadline_for_long() {
    let policy = model::Retry::default();
    let asked = |seconds| AttemptFailure::Status {
        status: StatusCode::SERVICE_UNAVAILABLE,
        retry_after: Some(Duration::from_secs(seconds)),
    };
    assert!(is_retried(&policy, &attempt(GET, asked(29))));
    assert!(!is_retried(&policy, &attempt(GET, asked(3600))));
    let patient = Attempt {
        remaining: Some(Duration::from_secs(7200)),
        ..attempt(GET, asked(3600))
    };
    assert!(is_retried(&policy, &patient));
}

#[test]
fn grpc_statuses_act_only_on_methods_that_policy_vouches_for() {
    let policy = model::Retry {
        grpc_statuses: vec![14],
        idempotent_methods: vec!["bank.Account/Balance".into()],
        ..model::Retry::default()
    };
    let headers = headers(&[("content-type", "application/grpc+proto")]);
    for (path, retried) in [
        ("/bank.Account/Balance", true),
        ("/bank.Account/Debit", false),
    ] {
        let traits = RequestTraits::of(&policy, &Method::POST, path, &headers);
        assert!(traits.grpc);
        assert_eq!(
            is_retried(&policy, &attempt(traits, grpc(14))),
            retried,
            "{path}"
        );
        assert!(!is_retried(&policy, &attempt(traits, grpc(13))));
    }
}

#[test]
fn an_idempotency_header_that_policy_names_makes_a_post_repeatable() {
    let named = model::Retry {
        idempotency_header: Some("idempotency-key".parse().unwrap()),
        ..model::Retry::default()
    };
    let with = |key| headers(&[("idempotency-key", key)]);
    let traits = |policy: &_, headers: &_| RequestTraits::of(policy, &Method::POST, "/", headers);
    assert!(traits(&named, &with("17")).repeatable());
    assert!(!traits(&model::Retry::default(), &with("17")).repeatable());
    for blank in ["", " "] {
        let mut twice = with("17");
        twice.append("idempotency-key", HeaderValue::from_static(blank));
        for headers in [with(blank), twice] {
            assert!(!traits(&named, &headers).repeatable(), "{headers:?}");
        }
    }
}

#[test]
fn what_one_service_vouches_for_another_does_not() {
    let named = model::Retry {
        idempotency_header: Some("idempotency-key".parse().unwrap()),
        idempotent_methods: vec!["bank.Account/Debit".into()],
        ..model::Retry::default()
    };
    let other = model::Retry::default();
    let key = headers(&[("idempotency-key", "17")]);
    let grpc = headers(&[("content-type", "application/grpc")]);
    for (method, headers, everywhere) in [
        (Method::POST, &key, false),
        (Method::POST, &grpc, false),
        (Method::GET, &key, true),
    ] {
        let of = |policy| RequestTraits::of(policy, &method, "/bank.Account/Debit", headers);
        assert!(of(&named).repeatable());
        assert_eq!(of(&named).idempotent, everywhere, "{method}");
        assert_eq!(of(&named).both(of(&other)).repeatable(), everywhere);
    }
}

#[test]
fn idempotent_methods_are_those_of_rfc_9110() {
    for (method, repeatable) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("CONNECT", false),
        ("BREW", false),
    ] {
        assert_eq!(
            is_idempotent(&method.parse().unwrap()),
            repeatable,
            "{method}"
        );
    }
}

#[test]
fn retries_below_a_retrying_caller_are_left_to_it() {
    let policy = model::Retry::default();
    let nested = RequestTraits::of(
        &policy,
        &Method::GET,
        "/",
        &headers(&[("x-usher-attempt", "2")]),
    );
    let first = RequestTraits::of(
        &policy,
        &Method::GET,
        "/",
        &headers(&[("x-usher-attempt", "1")]),
    );
    assert!(nested.nested && !first.nested);
    assert_eq!(
        decide(&policy, &attempt(nested, status(503)), 1),
        Decision::GiveUp(GiveUp::Nested)
    );
    assert!(is_retried(
        &policy,
        &attempt(nested, AttemptFailure::ProvablyUnprocessed)
    ));
    let allowed = model::Retry {
        allow_nested: true,
        ..policy
    };
    assert!(is_retried(&allowed, &attempt(nested, status(503))));
}

#[test]
fn attempts_body_and_trial_bound_even_the_provably_unprocessed() {
    let policy = model::Retry::default();
    let base = attempt(GET, AttemptFailure::ProvablyUnprocessed);
    let cases = [
        (Attempt { number: 2, ..base }, None),
        (Attempt { number: 3, ..base }, Some(GiveUp::AttemptsSpent)),
        (
            Attempt {
                body_replayable: false,
                ..base
            },
            Some(GiveUp::BodyGone),
        ),
        (
            Attempt {
                trial: true,
                ..base
            },
            Some(GiveUp::Trial),
        ),
        (
            Attempt {
                remaining: Some(Duration::ZERO),
                ..base
            },
            Some(GiveUp::Deadline),
        ),
    ];
    for (attempt, reason) in cases {
        match decide(&policy, &attempt, 1) {
            Decision::Retry { .. } => assert_eq!(reason, None),
            Decision::GiveUp(given) => assert_eq!(Some(given), reason),
        }
    }
}

#[test]
fn the_servers_wish_is_honoured_within_the_deadline() {
    let policy = model::Retry::default();
    let retry_after = Some(Duration::from_secs(2));
    let failure = AttemptFailure::Status {
        status: StatusCode::SERVICE_UNAVAILABLE,
        retry_after,
    };
    let patient = Attempt {
        remaining: Some(Duration::from_secs(3)),
        ..attempt(GET, failure)
    };
    assert_eq!(
        decide(&policy, &patient, 1),
        Decision::Retry {
            after: Duration::from_secs(2)
        }
    );
    let hurried = Attempt {
        remaining: Some(Duration::from_secs(1)),
        ..patient
    };
    assert_eq!(
        decide(&policy, &hurried, 1),
        Decision::GiveUp(GiveUp::Deadline)
    );
}

#[test]
fn a_negative_pushback_forbids_and_an_unreadable_one_too() {
    for (text, pushback) in [
        ("-1", Pushback::Never),
        ("soon", Pushback::Never),
        ("1500", Pushback::After(Duration::from_millis(1500))),
    ] {
        let headers = headers(&[("grpc-retry-pushback-ms", text)]);
        assert_eq!(Pushback::of(&headers), Some(pushback), "{text}");
    }
    let policy = model::Retry {
        grpc_statuses: vec![14],
        ..model::Retry::default()
    };
    let failure = AttemptFailure::GrpcStatus {
        code: 14,
        pushback: Some(Pushback::Never),
    };
    let vouched = RequestTraits {
        vouched: true,
        ..GRPC
    };
    assert_eq!(
        decide(&policy, &attempt(vouched, failure), 1),
        Decision::GiveUp(GiveUp::PushedBack)
    );
}

#[test]
fn retry_after_is_read_in_seconds_only() {
    assert_eq!(
        retry_after(&headers(&[("retry-after", "120")])),
        Some(Duration::from_secs(120))
    );
    assert_eq!(
        retry_after(&headers(&[(
            "retry-after",
            "Fri, 31 Dec 1999 23:59:59 GMT"
        )])),
        None
    );
}

#[test]
fn grpc_web_is_not_grpc() {
    for (kind, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        assert_eq!(is_grpc(&headers(&[("content-type", kind)])), grpc, "{kind}");
    }
}

proptest! {
    #[test]
    fn the_wait_stays_below_its_bound(number in 1..3u32, random: u64) {
        let policy = model::Retry { attempts: 10, ..model::Retry::default() };
        let attempt = Attempt { number, ..attempt(GET, AttemptFailure::ProvablyUnprocessed) };
        let bound = Duration::from_millis(25 * ((1 << number) - 1)).min(Duration::from_millis(250));
        match decide(&policy, &attempt, random) {
            Decision::Retry { after } => prop_assert!(after < bound),
            Decision::GiveUp(reason) => prop_assert!(false, "{:?}", reason),
        }
    }

    /// The promise: whatever the policy and the failure, a request that may not be done twice and may have
    /// been processed is never sent again.
    #[test]
    fn a_payment_is_never_repeated(
        code in 0..=16u8,
        http_status in 400..600u16,
        which in 0..5usize,
        number in 1..4u32,
        allow_nested: bool,
        random: u64,
    ) {
        let policy = model::Retry {
            attempts: 10,
            statuses: (400..600).filter_map(|code| StatusCode::from_u16(code).ok()).collect(),
            grpc_statuses: (0..=16).collect(),
            allow_nested,
            ..model::Retry::default()
        };
        let failures =
            [AttemptFailure::IdleRace, status(http_status), grpc(code), AttemptFailure::PerTryTimeout, AttemptFailure::Reset];
        for traits in [POST, GRPC] {
            let attempt = Attempt { number, ..attempt(traits, failures[which]) };
            prop_assert!(matches!(decide(&policy, &attempt, random), Decision::GiveUp(_)));
        }
    }
}
