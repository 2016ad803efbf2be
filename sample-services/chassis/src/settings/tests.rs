//! Facts about the environment.

use std::time::Duration;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    )
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut env = environment(&[("PORT", "99999"), ("ACCOUNT_URL", "ftp://x")]);
    assert!(env.listen().is_none());
    assert!(env.required::<BaseUrl>("ACCOUNT_URL").is_none());
    assert!(env.required::<DatabaseUrl>("DATABASE_URL").is_none());
    let error = env.into_error();
    let fields: Vec<_> = error
        .mistakes
        .iter()
        .map(|mistake| mistake.field.as_str())
        .collect();
    assert_eq!(fields, ["PORT", "ACCOUNT_URL", "DATABASE_URL"]);
    assert!(
        error
            .to_string()
            .contains("PORT: found \"99999\", allowed a whole number"),
        "{error}"
    );
}

#[test]
fn durations_have_units_and_a_limit() {
    for (text, wanted) in [
        ("2ms", Some(Duration::from_millis(2))),
        ("1.5s", Some(Duration::from_millis(1500))),
        ("0", Some(Duration::ZERO)),
        ("1h", Some(Duration::from_secs(3600))),
        ("2h", None),
        ("5", None),
        ("-1s", None),
        ("s", None),
        ("1 fortnight", None),
    ] {
        assert_eq!(<Duration as Setting>::parse(text), wanted, "{text}");
    }
}

#[test]
fn a_base_url_is_plain_http_without_a_path() {
    let url = BaseUrl::parse("http://account.bank:50051/").expect("a base url");
    assert_eq!(url.authority().as_str(), "account.bank:50051");
    assert_eq!(url.join("/v1/x"), "http://account.bank:50051/v1/x");
    for wrong in [
        "https://a",
        "http://a/path",
        "http://user@a",
        "a:1",
        "http://a?b",
        "",
    ] {
        assert!(BaseUrl::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_database_is_a_file_however_it_is_written() {
    for text in ["/d/a.db", "sqlite:/d/a.db", "sqlite:///d/a.db"] {
        assert_eq!(
            DatabaseUrl::parse(text).expect(text).path(),
            Path::new("/d/a.db")
        );
    }
    for wrong in ["postgres://x", "sqlite::memory:", "sqlite:"] {
        assert!(DatabaseUrl::parse(wrong).is_none(), "{wrong}");
    }
}
