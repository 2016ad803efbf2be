//! Of a key set only public keys that verify signatures are taken.

use super::*;

const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

fn ec(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#)
}

fn set(keys: &[String]) -> Result<Jwks, InvalidValue> {
    format!(r#"{{"keys":[{}]}}"#, keys.join(",")).parse()
}

#[test]
fn what_cannot_verify_a_signature_is_left_out() {
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    for key in [
        r#"{"kty":"oct","k":"AAAA","kid":"secret"}"#.to_owned(),
        format!(r#"{{"kty":"RSA","n":"{short}","e":"AQAB"}}"#),
        ec(r#","use":"enc""#),
        ec(r#","alg":"HS256""#),
        ec(r#","alg":"RS256""#),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"AA"}}"#),
        r#"{"kty":"future","crv":"?"}"#.to_owned(),
    ] {
        let alone = set(std::slice::from_ref(&key));
        assert_eq!(alone.expect_err(&key).found, "a set without a usable key");
        let beside = set(&[key, ec(r#","kid":"a","alg":"ES256","use":"sig""#)]).expect("one");
        assert_eq!(beside.keys().len(), 1);
        assert_eq!(&*beside.keys()[0].id, "a");
        assert_eq!(beside.keys()[0].algorithm, Some(JwtAlgorithm::Es256));
    }
}

#[test]
fn a_private_key_is_refused_and_never_quoted() {
    let error = set(&[ec(r#","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI""#)]);
    let error = error.expect_err("private");
    assert_eq!(
        (error.found.as_str(), error.allowed),
        ("a private key", PRIVATE)
    );
    for text in ["-----BEGIN PRIVATE KEY-----", "[]", "", "{\"keys\":{}}"] {
        assert_eq!(
            text.parse::<Jwks>().expect_err(text).found,
            "something else"
        );
    }
}

#[test]
fn an_address_is_a_web_address() {
    for text in [
        "https://login.example/keys",
        "http://127.0.0.1:80/",
        "https://[::1]:8443/k?v=1",
    ] {
        assert_eq!(text.parse::<JwksUri>().expect(text).as_str(), text);
    }
    for text in [
        "file:///etc/passwd",
        "login.example/keys",
        "https://",
        "https://a@b/",
        "ftp://a/",
    ] {
        text.parse::<JwksUri>().expect_err(text);
    }
}
