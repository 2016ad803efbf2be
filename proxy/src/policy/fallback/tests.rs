//! A fallback answers only where that cannot do the work twice.

use usher_config::model::{Fallback, FallbackTarget, StaticResponse};

use super::*;

fn fallback(repeatable: bool) -> Fallback {
    let response = StaticResponse {
        status: http::StatusCode::OK,
        headers: Default::default(),
        body: Default::default(),
    };
    Fallback {
        on_open: true,
        on_no_endpoint: true,
        on_exhausted: true,
        repeatable,
        target: FallbackTarget::Response(response),
    }
}

const fn exhausted(idempotent: bool, all_unprocessed: bool) -> Cause {
    Cause::Exhausted {
        idempotent,
        all_unprocessed,
    }
}

#[test]
fn spent_attempts_fall_back_only_if_that_is_harmless_or_vouched_for() {
    let cases = [
        (Cause::Open, false, true),
        (Cause::NoEndpoint, false, true),
        (exhausted(true, false), false, true),
        (exhausted(false, true), false, true),
        (exhausted(false, false), false, false),
        (exhausted(false, false), true, true),
    ];
    for (cause, vouched, answers) in cases {
        assert_eq!(
            decide(Some(&fallback(vouched)), cause).is_some(),
            answers,
            "{cause:?} {vouched}"
        );
    }
}

#[test]
fn causes_that_policy_does_not_name_have_no_fallback() {
    let none = Fallback {
        on_open: false,
        on_no_endpoint: false,
        on_exhausted: false,
        ..fallback(true)
    };
    for cause in [Cause::Open, Cause::NoEndpoint, exhausted(true, true)] {
        assert_eq!(decide(Some(&none), cause), None);
        assert_eq!(decide(None, cause), None);
    }
}
