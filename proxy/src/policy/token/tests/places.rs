//! What an application may take for a token is one: seen, verified, and taken out.

use http::HeaderName;

use super::*;

fn at(from: TokenFrom) -> model::JwtProvider {
    let mut provider = provider(vec![Signer::ec().key("k")]);
    provider.from = from;
    provider
}

fn header_of(name: &'static str) -> TokenFrom {
    TokenFrom::Header(HeaderName::from_static(name))
}

fn with(fields: &[(&'static str, &'static [u8])]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static [u8])| {
        let value = HeaderValue::from_bytes(value).unwrap();
        (HeaderName::from_static(name), value)
    };
    fields.iter().map(field).collect()
}

#[test]
fn a_token_in_an_odd_spelling_is_never_none() {
    let cookie = || TokenFrom::Cookie("session".into());
    for (from, name, value) in [
        (cookie(), "cookie", &b"a=\xff; session=FORGED"[..]),
        (cookie(), "cookie", b"session =FORGED"),
        (cookie(), "cookie", b"a=b;\tsession\t= FORGED"),
        (cookie(), "cookie", b"\xa0session=FORGED"),
        (cookie(), "cookie", b"session=FORG\xff"),
        (TokenFrom::Bearer, "authorization", b"Bearer\tFORGED"),
        (TokenFrom::Bearer, "authorization", b"Bearer"),
        (TokenFrom::Bearer, "authorization", b"BearerFORGED"),
        (
            TokenFrom::Bearer,
            "authorization",
            b"Basic YTpi, bearer FORGED",
        ),
        (header_of("x-token"), "x-token", b"Bearer\tFORGED"),
        (header_of("x-token"), "x_token", b"FORGED"),
        (header_of("x_token"), "x-token", b"FORGED"),
    ] {
        let policy = policy(false, vec![at(from)]);
        let mut headers = with(&[(name, value)]);
        let refused = policy.authenticate(&headers, now()).err();
        assert_eq!(refused, Some(TokenProblem::Malformed), "{headers:?}");
        policy.strip(&mut headers, None);
        let left = format!("{headers:?}");
        assert!(!left.contains("FORG"), "{left}");
    }
}

#[test]
fn a_cookie_beside_bytes_that_are_no_text_is_found() {
    let signer = Signer::ec();
    let mut provider = provider(vec![signer.key("k")]);
    provider.from = TokenFrom::Cookie("session".into());
    let policy = policy(true, vec![provider]);
    let token = signer.sign(&json!({ "alg": "ES256" }), &claims());
    let value = [b"name=J\xf6rg; session=", token.as_bytes(), b"; c=d"].concat();
    let value = HeaderValue::from_bytes(&value).unwrap();
    let mut headers = HeaderMap::from_iter([(header::COOKIE, value)]);
    let believed = policy.authenticate(&headers, now()).unwrap().unwrap();
    policy.strip(&mut headers, Some(believed.provider));
    assert_eq!(headers[header::COOKIE].as_bytes(), b"name=J\xf6rg; c=d");
}

#[test]
fn other_cookies_and_credentials_are_the_application_s() {
    let places = [TokenFrom::Bearer, TokenFrom::Cookie("session".into())];
    let policy = policy(false, places.map(at).to_vec());
    let mut headers = with(&[
        ("authorization", b"Basic YTpi"),
        ("cookie", b"sessions=1;a"),
    ]);
    let before = headers.clone();
    assert!(policy.authenticate(&headers, now()).unwrap().is_none());
    policy.strip(&mut headers, None);
    assert_eq!(headers, before);
}

#[test]
fn a_second_token_elsewhere_is_malformed_whoever_signed_the_first() {
    let signer = Signer::ec();
    let mut second = provider(vec![signer.key("k")]);
    second.issuer = "https://other.test".into();
    second.from = TokenFrom::Cookie("session".into());
    let providers = || vec![provider(vec![signer.key("k")]), second.clone()];
    let policy = policy(false, providers());
    let token = signer.sign(&json!({ "alg": "ES256" }), &claims());
    let mut headers = bearing(&token);
    let cookie = HeaderValue::from_static("a=b; session=FORGED");
    headers.insert(header::COOKIE, cookie);
    let refused = policy.authenticate(&headers, now()).err();
    assert_eq!(refused, Some(TokenProblem::Malformed));
    headers.insert(header::COOKIE, HeaderValue::from_static("a=b"));
    assert!(policy.authenticate(&headers, now()).unwrap().is_some());
}

#[test]
fn what_is_kept_stays_where_it_is_and_nowhere_else() {
    let signer = Signer::ec();
    let mut kept = provider(vec![signer.key("k")]);
    kept.keep = true;
    let policy = policy(false, vec![kept, at(header_of("x-token"))]);
    let token = signer.sign(&json!({ "alg": "ES256" }), &claims());
    let mut headers = bearing(&token);
    let believed = policy.authenticate(&headers, now()).unwrap().unwrap();
    headers.insert("x_token", HeaderValue::from_static("FORGED"));
    policy.strip(&mut headers, Some(believed.provider));
    assert_eq!(headers, bearing(&token));
}

#[test]
fn a_token_where_only_another_policy_looks_for_one_goes_nowhere() {
    let signer = Signer::ec();
    let mut own = provider(vec![signer.key("k")]);
    own.keep = true;
    let policy = Authenticator::new(&model::Authentication {
        name: "bank/login".into(),
        required: false,
        providers: vec![own],
        stripped: vec![
            TokenFrom::Cookie("session".into()),
            header_of("x-token"),
            // The provider's own place: what is kept there stays.
            header_of("authorization"),
        ],
        invalid: false,
    });
    let bearer = format!(
        "Bearer {}",
        signer.sign(&json!({ "alg": "ES256" }), &claims())
    );
    let mut headers = with(&[("cookie", b"a=b; session=FORGED"), ("x_token", b"FORGED")]);
    headers.insert("authorization", HeaderValue::try_from(&bearer).unwrap());
    let believed = policy.authenticate(&headers, now()).unwrap();
    let provider = believed.expect("the token that counts").provider;
    policy.strip(&mut headers, Some(provider));
    assert_eq!(headers["cookie"], "a=b");
    assert_eq!(headers["authorization"], bearer.as_str());
    assert!(!headers.contains_key("x_token"));
    let trailers = policy.token_headers();
    assert!(trailers.contains(&HeaderName::from_static("x-token")));
}
