//! Headers that only we write claims into: what an application finds in them was verified, whoever asks and however.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderName;
use usher_config::{
    model::{Authentication, InboundPolicy, JwtProvider, MtlsMode, TokenFrom, TrafficPolicy},
    value::{JwtAlgorithm, KeyMaterial, VerificationKey},
};

use super::harness::Mesh;

const USER: HeaderName = HeaderName::from_static("x-user");

/// A policy, and a token that it believes for longer than any of us lives.
fn login(required: bool) -> (Authentication, String) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = r#"{"iss":"i","aud":"a","sub":"ada","exp":9999999999}"#;
    let message = format!("{}.{}", encode(r#"{"alg":"EdDSA"}"#), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
    let provider = JwtProvider {
        issuer: "i".into(),
        audiences: vec!["a".to_owned()],
        keys: vec![VerificationKey {
            id: "k".into(),
            algorithm: None,
            material: KeyMaterial::Ed25519(pair.public_key().as_ref().to_vec()),
        }],
        algorithms: vec![JwtAlgorithm::EdDsa],
        from: TokenFrom::Bearer,
        keep: false,
        headers: vec![("sub".into(), USER)],
    };
    let policy = Authentication {
        name: "bank/login".into(),
        required,
        providers: vec![provider],
        invalid: false,
        stripped: Vec::new(),
    };
    (policy, format!("{message}.{signature}"))
}

fn open(policy: &mut InboundPolicy) {
    policy.mtls = MtlsMode::Permissive;
    policy.claim_headers = vec![USER];
}

#[test]
fn no_connection_header_takes_claims_away_again() {
    let (policy, token) = login(true);
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.inbound(|inbound| {
        open(inbound);
        inbound.authentication = Some(policy);
    });
    let request = format!(
        "GET / HTTP/1.1\r\nHost: account.bank\r\nConnection: x-user, close\r\nX_User: eve\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    let (answer, _) = mesh.plaintext(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let headers = &mesh.seen()[0].0;
    assert_eq!(headers.get(USER).unwrap(), "ada");
    assert!(!headers.contains_key("x_user") && !headers.contains_key("authorization"));
}

#[test]
fn claims_are_believed_of_gateways_and_of_no_other_caller() {
    let (policy, _) = login(false);
    let caller = "spiffe://usher.local/ns/bank/sa/transaction";
    let other = "spiffe://usher.local/ns/bank/sa/edge";
    let mesh = Mesh::start(TrafficPolicy::default());
    let found = |gateway: &str, own: Option<&Authentication>| {
        mesh.inbound(|inbound| {
            open(inbound);
            inbound.gateways = vec![gateway.parse().unwrap()];
            inbound.authentication = own.cloned();
        });
        mesh.http1_with("http://account.bank/", "", |request| {
            request.headers_mut().insert(USER, "eve".parse().unwrap());
        });
        mesh.seen().last().unwrap().0.get(USER).cloned()
    };
    assert_eq!(found(other, None), None);
    assert_eq!(found(caller, None).unwrap(), "eve");
    // What the sidecar would write itself is nobody else's to say.
    assert_eq!(found(caller, Some(&policy)), None);
}
