//! Who is let in, and how often.

use super::*;

pub(super) fn rate_limits() -> RateLimits {
    RateLimits {
        policy: "bank/logins".into(),
        target: "Service bank/account".into(),
        dry_run: true,
        limits: vec![RateLimit {
            name: "per-caller".into(),
            requests: 100,
            per: Duration::from_secs(60),
            burst: 20,
            key: vec![
                LimitKey::Identity,
                LimitKey::Header(http::HeaderName::from_static("x-api-key")),
                LimitKey::Claim("sub".into()),
                LimitKey::Path,
                LimitKey::Route,
                LimitKey::Source,
            ],
            keys_max: 10_000,
            when: LimitWhen {
                methods: vec![http::Method::POST],
                paths: vec![PathRule::Prefix("/login/".into())],
                headers: vec![(
                    http::HeaderName::from_static("x-tester"),
                    TextMatch::Exact("yes".into()),
                )],
            },
        }],
    }
}

#[test]
fn a_burst_that_no_bucket_could_hold_is_refused() {
    let mut message = v1::InboundPolicy::from(&inbound_policy());
    let limit = &mut message.rate_limits[0].limits[0];
    (limit.requests, limit.per_ms, limit.burst) = (1, 86_400_000, 31);
    let error = InboundPolicy::try_from(message).expect_err("31 days");
    assert_eq!(error.field, "rate_limits[0].limits[0].burst");
}
