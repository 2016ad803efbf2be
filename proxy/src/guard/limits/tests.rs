//! Which limits a bad token uses up, and what a refusal leaves.

use usher_config::model::RateLimits;

use crate::{
    policy::rate_limit::{Hashing, Limiter},
    telemetry::metrics::Metrics,
};

use super::*;

/// One request in an hour, of each key.
fn policy(keys: &[&[LimitKey]]) -> Vec<Arc<LimitsEntry>> {
    let metrics = Metrics::new(1);
    let limit = |key: &&[LimitKey]| RateLimit {
        name: "l".into(),
        requests: 1,
        per: std::time::Duration::from_secs(3600),
        burst: 1,
        key: key.to_vec(),
        keys_max: 16,
        when: LimitWhen::default(),
    };
    let model = RateLimits {
        policy: "bank/p".into(),
        target: "Gateway bank/edge".into(),
        dry_run: false,
        limits: keys.iter().map(limit).collect(),
    };
    let entry = |limit: &RateLimit| LimitEntry {
        limiter: Arc::new(Limiter::new(limit, Hashing::default())),
        beyond: metrics.rate_limited("bank/p", "l"),
        model: limit.clone(),
    };
    vec![Arc::new(LimitsEntry {
        limits: model.limits.iter().map(entry).collect(),
        model,
    })]
}

/// Where a request comes from, and whose its token is; `None`: nobody is asked yet.
fn asked<'a>(request: &'a Request<Body>, source: u8, claims: Option<&'a Claims>) -> Arrived<'a> {
    Arrived {
        request,
        identity: None,
        route: "r",
        source: Some([203, 0, 113, source].into()),
        claims,
    }
}

#[test]
fn bad_tokens_use_up_what_asks_for_no_claim_and_no_header() {
    let request = Request::new(Body::Empty);
    let header = LimitKey::Header(http::HeaderName::from_static("x-api-key"));
    let claim = LimitKey::Claim("sub".into());
    let before = |policies: &[Arc<LimitsEntry>], source| {
        let asked = (
            asked(&request, source, None),
            Those::BeforeTokens,
            clock::now(),
        );
        take(policies.iter(), asked, Taken::default()).is_ok()
    };
    let by_source = policy(&[&[LimitKey::Source]]);
    assert!(before(&by_source, 1) && !before(&by_source, 1) && before(&by_source, 2));
    let of_all = policy(&[&[]]);
    assert!(before(&of_all, 1) && !before(&of_all, 2));
    for key in [header, claim] {
        let later = policy(&[&[LimitKey::Source, key]]);
        assert!(before(&later, 1) && before(&later, 1));
    }
}

#[test]
fn parameters_of_a_path_have_no_bucket_of_their_own() {
    let by_path = policy(&[&[LimitKey::Path]]);
    for (path, taken) in [("/login", true), ("/login;x=1", false), ("/other", true)] {
        let request = Request::get(format!("http://a{path}"));
        let request = request.body(Body::Empty).unwrap();
        let asked = (asked(&request, 1, None), Those::All, clock::now());
        let result = take(by_path.iter(), asked, Taken::default());
        assert_eq!(result.is_ok(), taken, "{path}");
    }
}

#[test]
fn what_is_refused_after_its_token_gives_back_what_was_taken_before() {
    let request = Request::new(Body::Empty);
    let policies = policy(&[&[LimitKey::Source], &[LimitKey::Claim("sub".into())]]);
    let claims: Claims = serde_json::from_str(r#"{"sub":"ada"}"#).unwrap();
    let pass = |source| {
        let now = clock::now();
        let early = (asked(&request, source, None), Those::BeforeTokens, now);
        let taken = take(policies.iter(), early, Taken::default()).map_err(|_| "before")?;
        let late = (
            asked(&request, source, Some(&claims)),
            Those::AfterTokens,
            now,
        );
        take(policies.iter(), late, taken).map_err(|_| "after")?;
        Ok::<_, &str>(())
    };
    assert_eq!(pass(1), Ok(()));
    assert_eq!(pass(2), Err("after"));
    assert_eq!(pass(2), Err("after"), "the source has its own again");
    assert_eq!(pass(1), Err("before"));
}
