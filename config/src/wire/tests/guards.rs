//! Who is let in, and how often.

use super::*;
use crate::value::{JwtAlgorithm, KeyMaterial, VerificationKey};

pub(super) fn backend_tls() -> BackendTls {
    BackendTls::Verified(Origination {
        hostname: "fraud.example".parse().expect("host"),
        names: vec![
            AlternativeName::Dns("a.example".parse().expect("host")),
            AlternativeName::Uri("spiffe://corp/fraud".to_owned()),
        ],
        roots: Roots::Given(
            "-----BEGIN CERTIFICATE-----\nMAIFAA==\n-----END CERTIFICATE-----"
                .parse()
                .expect("certificate"),
        ),
    })
}

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

pub(super) fn authentication() -> Authentication {
    let provider = |from, material| JwtProvider {
        issuer: "https://login.example".into(),
        audiences: vec!["bank".into()],
        keys: vec![VerificationKey {
            id: "k1".into(),
            algorithm: Some(JwtAlgorithm::Es256),
            material,
        }],
        algorithms: vec![JwtAlgorithm::Es256, JwtAlgorithm::EdDsa],
        from,
        keep: true,
        headers: vec![("sub".into(), http::HeaderName::from_static("x-user"))],
    };
    let rsa = KeyMaterial::Rsa {
        n: vec![0xff; 256],
        e: vec![1, 0, 1],
    };
    let mut point = vec![7; 65];
    point[0] = 4;
    Authentication {
        name: "bank/login".into(),
        required: true,
        providers: vec![
            provider(TokenFrom::Bearer, rsa),
            provider(TokenFrom::Cookie("t".into()), KeyMaterial::P256(point)),
            provider(
                TokenFrom::Header(http::HeaderName::from_static("x-token")),
                KeyMaterial::Ed25519(vec![9; 32]),
            ),
        ],
        stripped: vec![
            TokenFrom::Bearer,
            TokenFrom::Cookie("old".into()),
            TokenFrom::Header(http::HeaderName::from_static("x-old-token")),
        ],
        invalid: false,
    }
}

#[test]
fn a_short_key_is_refused() {
    let mut message = v1::InboundPolicy::from(&inbound_policy());
    let authentication = message.authentication.as_mut().expect("written");
    authentication.providers[0].keys[0].material =
        Some(v1::verification_key::Material::Rsa(v1::RsaKey {
            n: vec![0xff; 128],
            e: vec![1, 0, 1],
        }));
    let error = InboundPolicy::try_from(message).expect_err("1024 bits");
    assert_eq!(error.field, "authentication.providers[0].keys[0].material");
}

#[test]
fn a_burst_that_no_bucket_could_hold_is_refused() {
    let mut message = v1::InboundPolicy::from(&inbound_policy());
    let limit = &mut message.rate_limits[0].limits[0];
    (limit.requests, limit.per_ms, limit.burst) = (1, 86_400_000, 31);
    let error = InboundPolicy::try_from(message).expect_err("31 days");
    assert_eq!(error.field, "rate_limits[0].limits[0].burst");
}
