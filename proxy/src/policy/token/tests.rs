//! Only a token that the policy believes is one: signed by a known key, in time, for us.

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{known::Fingerprint, *};

mod places;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Somebody who signs.
enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

impl Signer {
    fn ec() -> Self {
        Self::Ec(Box::new(
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        ))
    }

    fn key(&self, id: &str) -> VerificationKey {
        let material = match self {
            Self::Rsa(pair) => KeyMaterial::Rsa {
                n: pair
                    .public_key()
                    .modulus()
                    .big_endian_without_leading_zero()
                    .to_vec(),
                e: pair
                    .public_key()
                    .exponent()
                    .big_endian_without_leading_zero()
                    .to_vec(),
            },
            Self::Ec(pair) => KeyMaterial::P256(pair.public_key().as_ref().to_vec()),
            Self::Ed(pair) => KeyMaterial::Ed25519(pair.public_key().as_ref().to_vec()),
        };
        assert!(material.is_sound());
        VerificationKey {
            id: id.into(),
            algorithm: None,
            material,
        }
    }

    fn sign(&self, head: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(head), encode(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &random,
                    message.as_bytes(),
                    &mut signature,
                )
                .unwrap();
                signature
            }
            Self::Ec(pair) => pair
                .sign(&random, message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn provider(keys: Vec<VerificationKey>) -> model::JwtProvider {
    model::JwtProvider {
        issuer: "https://login.test".into(),
        audiences: vec!["bank".into(), "shop".into()],
        keys,
        algorithms: vec![
            JwtAlgorithm::Rs256,
            JwtAlgorithm::Es256,
            JwtAlgorithm::EdDsa,
        ],
        from: TokenFrom::Bearer,
        keep: false,
        headers: Vec::new(),
    }
}

fn policy(required: bool, providers: Vec<model::JwtProvider>) -> Authenticator {
    Authenticator::new(&model::Authentication {
        name: "bank/login".into(),
        required,
        providers,
        invalid: false,
        stripped: Vec::new(),
    })
}

fn claims() -> Value {
    json!({ "iss": "https://login.test", "aud": "bank", "sub": "ada", "exp": NOW + 60 })
}

fn bearing(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn asked(policy: &Authenticator, token: &str) -> Result<Option<String>, TokenProblem> {
    let believed = policy.authenticate(&bearing(token), now())?;
    Ok(believed.map(|believed| believed.claims["sub"].as_str().unwrap().to_owned()))
}

#[test]
fn tokens_of_all_kinds_of_keys_are_believed_and_no_changed_one() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let signers = [
        (Signer::Rsa(Box::new(rsa)), "RS256"),
        (Signer::ec(), "ES256"),
        (
            Signer::Ed(Box::new(Ed25519KeyPair::generate().unwrap())),
            "EdDSA",
        ),
    ];
    for (signer, algorithm) in signers {
        let policy = policy(true, vec![provider(vec![signer.key("k")])]);
        let token = signer.sign(&json!({ "alg": algorithm, "kid": "k" }), &claims());
        assert_eq!(
            asked(&policy, &token),
            Ok(Some("ada".to_owned())),
            "{algorithm}"
        );
        let parts: Vec<&str> = token.split('.').collect();
        let mut forged = claims();
        forged["sub"] = json!("eve");
        let body = URL_SAFE_NO_PAD.encode(forged.to_string());
        let forged = format!("{}.{body}.{}", parts[0], parts[2]);
        assert_eq!(asked(&policy, &forged), Err(TokenProblem::Signature));
    }
}

#[test]
fn each_way_of_not_being_believed_has_its_name() {
    use TokenProblem as P;
    let signer = Signer::ec();
    let policy = policy(true, vec![provider(vec![signer.key("k")])]);
    let head = json!({ "alg": "ES256", "kid": "k" });
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signer.sign(&head, &claims)
    };
    let headed = |head: Value| signer.sign(&head, &claims());
    let unsigned = headed(json!({ "alg": "none" }));
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    for (token, problem) in [
        (with("exp", json!(NOW - 61)), P::Expired),
        (with("exp", Value::Null), P::Malformed),
        (with("exp", json!("never")), P::Malformed),
        (with("nbf", json!(NOW + 61)), P::Immature),
        (with("aud", json!("other")), P::Audience),
        (with("aud", json!(["other", 7])), P::Audience),
        (with("aud", Value::Null), P::Audience),
        (with("iss", json!("https://login.test.evil")), P::Issuer),
        (with("sub", json!("a".repeat(8_000))), P::TooLong),
        (unsigned, P::Algorithm),
        (headed(json!({ "alg": "HS256", "kid": "k" })), P::Algorithm),
        (headed(json!({ "alg": "ES384", "kid": "k" })), P::Algorithm),
        (headed(json!({ "alg": "RS256", "kid": "k" })), P::UnknownKey),
        (headed(json!({ "alg": "ES256", "kid": "l" })), P::UnknownKey),
        (
            headed(json!({ "alg": "ES256", "kid": "k", "crit": ["b64"] })),
            P::Malformed,
        ),
        (Signer::ec().sign(&head, &claims()), P::Signature),
        ("a.b".to_owned(), P::Malformed),
        ("..".to_owned(), P::Malformed),
        (
            format!("{}.x", headed(json!({ "alg": "ES256" }))),
            P::Malformed,
        ),
    ] {
        assert_eq!(asked(&policy, &token), Err(problem), "{token}");
    }
    let mut endless = claims();
    endless.as_object_mut().unwrap().remove("exp");
    assert_eq!(
        asked(&policy, &signer.sign(&head, &endless)),
        Err(P::Endless)
    );
    for token in [
        with("exp", json!(NOW - 59)),
        with("nbf", json!(NOW + 59)),
        with("aud", json!(["other", "shop"])),
        headed(json!({ "alg": "ES256" })),
    ] {
        assert_eq!(asked(&policy, &token), Ok(Some("ada".to_owned())));
    }
}

#[test]
fn who_has_no_token_passes_where_none_is_required() {
    let signer = Signer::ec();
    let providers = || vec![provider(vec![signer.key("k")])];
    let none = HeaderMap::new();
    let basic = HeaderValue::from_static("Basic YTpi");
    let basic = HeaderMap::from_iter([(header::AUTHORIZATION, basic)]);
    for headers in [&none, &basic] {
        let required = policy(true, providers());
        let refused = required.authenticate(headers, now());
        assert_eq!(refused.err(), Some(TokenProblem::Missing));
        assert!(
            policy(false, providers())
                .authenticate(headers, now())
                .unwrap()
                .is_none()
        );
    }
    let optional = policy(false, providers());
    assert_eq!(asked(&optional, "a.b.c"), Err(TokenProblem::Malformed));
    let mut twice = bearing("a.b.c");
    twice.append(
        header::AUTHORIZATION,
        HeaderValue::from_static("Bearer d.e.f"),
    );
    let refused = optional.authenticate(&twice, now());
    assert_eq!(refused.err(), Some(TokenProblem::Malformed));
}

#[test]
fn a_policy_that_never_was_valid_lets_nobody_in() {
    let signer = Signer::ec();
    let policy = Authenticator::new(&model::Authentication {
        name: "bank/login".into(),
        required: false,
        providers: vec![provider(vec![signer.key("k")])],
        invalid: true,
        stripped: Vec::new(),
    });
    let token = signer.sign(&json!({ "alg": "ES256" }), &claims());
    assert_eq!(asked(&policy, &token), Err(TokenProblem::Policy));
    assert!(policy.is_required());
}

#[test]
fn of_several_issuers_each_has_its_own_keys_and_places() {
    let (one, two) = (Signer::ec(), Signer::ec());
    let mut second = provider(vec![two.key("k")]);
    second.issuer = "https://other.test".into();
    second.from = TokenFrom::Cookie("session".into());
    let policy = policy(true, vec![provider(vec![one.key("k")]), second]);
    let head = json!({ "alg": "ES256", "kid": "k" });
    let mut theirs = claims();
    theirs["iss"] = json!("https://other.test");
    let cookie = |token: &str| {
        let value = HeaderValue::try_from(format!("a=b; session={token}; c=d")).unwrap();
        HeaderMap::from_iter([(header::COOKIE, value)])
    };
    let mut headers = cookie(&two.sign(&head, &theirs));
    let believed = policy.authenticate(&headers, now()).unwrap().unwrap();
    policy.strip(&mut headers, Some(believed.provider));
    assert_eq!(headers[header::COOKIE], "a=b; c=d");
    let crossed = policy.authenticate(&cookie(&one.sign(&head, &theirs)), now());
    assert_eq!(crossed.err(), Some(TokenProblem::Signature));
    assert_eq!(
        asked(&policy, &two.sign(&head, &theirs)),
        Err(TokenProblem::Issuer)
    );
}

#[test]
fn a_token_that_is_known_is_still_held_to_its_time_and_its_signature() {
    let signer = Signer::ec();
    let policy = policy(true, vec![provider(vec![signer.key("k")])]);
    let token = signer.sign(&json!({ "alg": "ES256", "kid": "k" }), &claims());
    let key = &policy.providers[0].keys[0];
    let (message, signature) = token.rsplit_once('.').unwrap();
    let fingerprint = Fingerprint::of(message, signature);
    assert!(!key.known.hold(&fingerprint));
    for _ in 0..2 {
        assert_eq!(asked(&policy, &token), Ok(Some("ada".to_owned())));
        assert!(key.known.hold(&fingerprint));
    }
    let later = now() + Duration::from_secs(121);
    let expired = policy.authenticate(&bearing(&token), later);
    assert_eq!(expired.err(), Some(TokenProblem::Expired));
    let other = signer.sign(&json!({ "alg": "ES256", "kid": "k" }), &claims());
    let (_, theirs) = other.rsplit_once('.').unwrap();
    let mut forged = claims();
    forged["sub"] = json!("eve");
    let head = message.split_once('.').unwrap().0;
    let body = URL_SAFE_NO_PAD.encode(forged.to_string());
    for signature in [signature, theirs] {
        let forged = format!("{head}.{body}.{signature}");
        assert_eq!(asked(&policy, &forged), Err(TokenProblem::Signature));
    }
    assert_eq!(
        asked(&policy, &format!("{message}.AAAA")),
        Err(TokenProblem::Signature)
    );
}

#[test]
fn a_key_remembers_many_tokens_and_takes_none_for_another() {
    let known = Known::default();
    let of = |number: usize| Fingerprint::of(&number.to_string(), "s");
    for number in 0..5_000 {
        assert!(!known.hold(&of(number)));
        known.remember(&of(number));
        assert!(known.hold(&of(number)));
    }
    let held = (0..5_000).filter(|number| known.hold(&of(*number))).count();
    assert!((900..=1_024).contains(&held), "{held}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_believe(token in "[A-Za-z0-9_.=-]{0,200}") {
        let policy = policy(true, vec![provider(vec![Signer::ec().key("k")])]);
        prop_assert!(asked(&policy, &token).is_err());
    }
}
