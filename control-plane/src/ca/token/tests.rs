//! A token is good for what it was made for, as often and as long as it says, and for nothing else.

use std::{
    num::NonZeroU32,
    path::Path,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::{JoinToken, Pins, Refusal, TTL_MAX, TokenError, TokenRequest, TokenStore};

proptest! {
    #[test]
    fn no_text_makes_the_token_parser_panic(text in "\\PC{0,200}") {
        let _ = text.parse::<JoinToken>();
    }
}

/// Of a mesh whose roots' digests are these characters, the active one's first.
pub(crate) fn pinned(roots: &[&str]) -> Pins {
    let all: Vec<String> = roots.iter().map(|root| root.repeat(64)).collect();
    let active = all.first().cloned().unwrap_or_default();
    std::sync::Arc::new(move || (active.clone(), all.clone()))
}

fn tokens(directory: &Path) -> TokenStore {
    TokenStore::open(&directory.join("tokens.redb"), pinned(&["a"])).expect("opens")
}

pub(in crate::ca) fn wanted(ttl: Duration, uses: Option<u32>) -> TokenRequest {
    TokenRequest {
        namespace: "bank".parse().expect("valid"),
        service_account: "account".parse().expect("valid"),
        ttl,
        uses: uses.and_then(NonZeroU32::new),
    }
}

pub(in crate::ca) const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_token_is_good_for_its_uses_and_its_account_also_after_a_restart() {
    let directory = tempfile::tempdir().expect("writable");
    let now = SystemTime::now();
    let (token, _) = tokens(directory.path())
        .create(&wanted(HOUR, Some(2)), now)
        .expect("made");
    for _ in 0..2 {
        let subject = tokens(directory.path())
            .redeem(&token, now, |_| true)
            .expect("permitted");
        assert_eq!(subject.service_account.as_str(), "account");
        assert_eq!(subject.namespace.as_str(), "bank");
    }
    assert!(matches!(
        tokens(directory.path()).redeem(&token, now, |_| true),
        Err(Refusal::Spent)
    ));
}

#[test]
fn an_expired_token_is_refused_and_then_forgotten() {
    let directory = tempfile::tempdir().expect("writable");
    let (store, now) = (tokens(directory.path()), SystemTime::now());
    let (token, expires_at) = store.create(&wanted(HOUR, None), now).expect("made");
    assert_eq!(expires_at, now + HOUR);
    let last = now + HOUR - Duration::from_secs(2);
    assert!(
        store.redeem(&token, last, |_| true).is_ok(),
        "without a limit, as often as wanted"
    );
    assert!(store.redeem(&token, last, |_| true).is_ok());
    assert!(matches!(
        store.redeem(&token, now + HOUR, |_| true),
        Err(Refusal::Expired)
    ));
    store
        .create(&wanted(HOUR, None), now + 2 * HOUR)
        .expect("made");
    assert_eq!(store.len().expect("readable"), 1);
    assert!(matches!(
        store.redeem(&token, now, |_| true),
        Err(Refusal::NotKnown)
    ));
}

#[test]
fn a_token_with_another_secret_id_or_root_is_refused() {
    let directory = tempfile::tempdir().expect("writable");
    let (store, now) = (tokens(directory.path()), SystemTime::now());
    let (token, _) = store.create(&wanted(HOUR, Some(1)), now).expect("made");
    let (other, _) = store.create(&wanted(HOUR, Some(1)), now).expect("made");
    let text = token.reveal();
    let parts: Vec<&str> = text.split('.').collect();
    let other_text = other.reveal();
    let others: Vec<&str> = other_text.split('.').collect();
    let build = |id: &str, secret: &str, pin: &str| -> JoinToken {
        format!("usher1.{id}.{secret}.{pin}")
            .parse()
            .expect("well-formed")
    };
    let swapped = build(parts[1], others[2], parts[3]);
    assert!(matches!(
        store.redeem(&swapped, now, |_| true),
        Err(Refusal::NotKnown)
    ));
    let unknown = build("0123456789abcdef", parts[2], parts[3]);
    assert!(matches!(
        store.redeem(&unknown, now, |_| true),
        Err(Refusal::NotKnown)
    ));
    let pinned = build(parts[1], parts[2], &"b".repeat(64));
    assert!(matches!(
        store.redeem(&pinned, now, |_| true),
        Err(Refusal::OtherMesh)
    ));
    assert!(
        store.redeem(&token, now, |_| true).is_ok(),
        "refusals cost no use"
    );
}

#[test]
fn a_token_can_be_made_neither_for_the_control_plane_nor_for_ever() {
    let directory = tempfile::tempdir().expect("writable");
    let (store, now) = (tokens(directory.path()), SystemTime::now());
    let reserved = TokenRequest {
        namespace: "usher-system".parse().expect("valid"),
        ..wanted(HOUR, None)
    };
    assert!(matches!(
        store.create(&reserved, now),
        Err(TokenError::Reserved)
    ));
    for ttl in [Duration::ZERO, TTL_MAX + Duration::from_secs(1)] {
        assert!(matches!(
            store.create(&wanted(ttl, None), now),
            Err(TokenError::Ttl)
        ));
    }
}

#[test]
fn a_token_is_hashed_at_rest_and_hidden_in_debug() {
    let directory = tempfile::tempdir().expect("writable");
    let (token, _) = tokens(directory.path())
        .create(&wanted(HOUR, None), SystemTime::now())
        .expect("made");
    let text = token.reveal();
    let secret = text.split('.').nth(2).expect("three parts").as_bytes();
    let file = std::fs::read(directory.path().join("tokens.redb")).expect("exists");
    assert!(!file.windows(secret.len()).any(|window| window == secret));
    assert!(!format!("{token:?}").contains(text.split('.').nth(2).expect("three parts")));
    assert_eq!(text.parse::<JoinToken>().expect("round trip"), token);
}

#[test]
fn a_token_outlives_its_roots_place_but_not_the_root() {
    let directory = tempfile::tempdir().expect("writable");
    let path = directory.path().join("tokens.redb");
    let open = |roots| TokenStore::open(&path, pinned(roots)).expect("opens");
    let now = SystemTime::now();
    let (old, _) = open(&["a"]).create(&wanted(HOUR, None), now).expect("made");
    let rotated = open(&["b", "a"]);
    assert!(rotated.redeem(&old, now, |_| true).is_ok());
    let (new, _) = rotated.create(&wanted(HOUR, None), now).expect("made");
    assert!(new.reveal().ends_with(&"b".repeat(64)), "pins what signs");
    drop(rotated);
    let retired = open(&["b"]);
    assert!(retired.redeem(&new, now, |_| true).is_ok());
    let refused = retired.redeem(&old, now, |_| true);
    assert!(matches!(refused, Err(Refusal::OtherMesh)), "{refused:?}");
}
