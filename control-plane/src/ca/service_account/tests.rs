//! What a token says of itself is enough to turn it away, and never enough to let it in.

use proptest::prelude::*;

use super::*;

fn token(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"RS256"}"#),
        part(claims),
        part("signature")
    )
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_token_for_us_is_asked_about_until_its_time_is_over() {
    for claims in [
        r#"{"aud":["usher"],"exp":1000}"#,
        r#"{"aud":"usher","exp":1000,"sub":"system:serviceaccount:bank:account"}"#,
        r#"{"aud":["https://kubernetes.default.svc","usher"]}"#,
    ] {
        assert_eq!(look(&token(claims), at(1_059)), Ok(()), "{claims}");
    }
    let ended = look(&token(r#"{"aud":["usher"],"exp":1000}"#), at(1_061));
    assert_eq!(ended, Err(Misfit::Expired));
}

#[test]
fn a_token_for_others_says_for_whom() {
    let other = look(
        &token(r#"{"aud":["https://kubernetes.default.svc"]}"#),
        at(0),
    );
    let said = other.expect_err("for others").to_string();
    for part in [
        "https://kubernetes.default.svc",
        "allowed: usher",
        "usher inject",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(matches!(
        look(&token("{}"), at(0)),
        Err(Misfit::Audience { .. })
    ));
}

#[test]
fn only_service_accounts_have_identities() {
    let known = subject("system:serviceaccount:bank:account").expect("one");
    assert_eq!(
        (known.namespace.as_str(), known.service_account.as_str()),
        ("bank", "account")
    );
    for other in [
        "",
        "admin",
        "system:node:a",
        "system:serviceaccount:bank",
        "system:serviceaccount::account",
        "system:serviceaccount:bank:a:b",
        "system:serviceaccount:Bank:account",
    ] {
        assert!(subject(other).is_err(), "{other}");
    }
}

proptest! {
    #[test]
    fn whatever_is_shown_is_looked_at_without_harm(text in ".{0,200}", claims in ".{0,80}") {
        let _ = look(&text, at(0));
        let _ = look(&token(&claims), at(0));
        let _ = subject(&text);
    }
}
