//! What is refused leaves nothing behind, and what died too early comes back.

use super::*;
use crate::ca::roots::{ROOTS_MAX, Root, RootError};

fn stranger(now: OffsetDateTime) -> Root {
    let certificate = made("stranger", None, true).certificate.der().to_vec();
    Root {
        pin: crate::ca::authority::pin_of(&certificate).expect("a certificate"),
        certificate,
        phase: Phase::Adding,
        since: now,
        crosses: Vec::new(),
    }
}

#[tokio::test]
async fn a_given_root_for_which_there_is_no_room_is_not_certified_each_turn() {
    let directory = folder();
    let store = Arc::<Memory>::default();
    let now = OffsetDateTime::now_utc();
    let it = one(directory.path(), &store, None);
    it.steward.turn(now).await.expect("turned");
    let mut roots = RootSet::clone(&it.authority.roots());
    while roots.roots.len() < ROOTS_MAX {
        roots = roots.add(stranger(now)).expect("room");
    }
    store.with(|shared| shared.roots = Some(roots.clone()));
    drop(it);
    let root = made("root", None, true);
    let issuer = made("issuer", Some(&root), true);
    let given = files(directory.path(), &[&issuer, &root], &issuer.key);
    let it = one(directory.path(), &store, Some(given));
    let record = directory.path().join("ca/issued.jsonl");
    let lines = || {
        std::fs::read_to_string(&record)
            .expect("there")
            .lines()
            .count()
    };
    let before = lines();
    for _ in 0..3 {
        let error = it.steward.turn(now).await.expect_err("no room");
        assert!(
            matches!(error, StewardError::Root(RootError::TooMany)),
            "{error}"
        );
    }
    assert_eq!(lines(), before, "nothing was signed for it");
    let one_less = RootSet {
        version: roots.version + 1,
        roots: roots.roots[..ROOTS_MAX - 1].to_vec(),
        ..roots
    };
    store.with(|shared| shared.roots = Some(one_less));
    it.steward.turn(now).await.expect("turned");
    assert_eq!(lines(), before + 1, "certified once there is room");
    assert_eq!(it.authority.roots().roots.len(), ROOTS_MAX);
}

#[tokio::test]
async fn who_lost_a_first_start_and_died_of_it_joins_the_mesh_with_the_next() {
    let (winner, loser) = (folder(), folder());
    let domain = "usher.local".parse().expect("valid");
    let ca = loser.path().join("ca");
    // It makes a root, another one's is in the store, and it dies before its own is put out of the way.
    Authority::first_roots(&ca, &domain, None).expect("made");
    let unused = std::fs::read(ca.join("root.key")).expect("there");
    let store = Arc::<Memory>::default();
    let winner = one(winner.path(), &store, None);
    let again = one(loser.path(), &store, None);
    assert!(!ca.join("root.key").exists());
    assert_eq!(
        std::fs::read(ca.join("unused-root.key")).expect("kept"),
        unused
    );
    let now = OffsetDateTime::now_utc();
    for one in [&again, &winner, &again] {
        one.steward.turn(now).await.expect("turned");
    }
    assert_eq!(
        again.authority.issuer().expect("granted").root,
        winner.authority.pin()
    );
}

#[tokio::test]
async fn a_root_that_has_signed_is_never_put_aside_by_itself() {
    let (ours, theirs) = (folder(), folder());
    let store = Arc::<Memory>::default();
    drop(one(ours.path(), &store, None));
    let roots = store.with(|shared| shared.roots.clone()).expect("made");
    let domain = "usher.local".parse().expect("valid");
    let ca = theirs.path().join("ca");
    Authority::first_roots(&ca, &domain, None).expect("made");
    for sign in [
        "id",
        "issuer.key",
        "issued.jsonl",
        "issued.jsonl.1",
        "trust.json",
    ] {
        std::fs::write(ca.join(sign), "of a mesh").expect("writable");
        let opened = Authority::with_roots(&ca, &domain, (None, roots.clone()));
        let error = opened
            .err()
            .unwrap_or_else(|| panic!("{sign}: joins another mesh"));
        let is_other = matches!(&error, AuthorityError::OtherRoot { .. });
        assert!(is_other || sign == "issuer.key", "{sign}: {error}");
        assert!(ca.join("root.key").exists(), "{sign}");
        if is_other {
            let said = error.to_string();
            assert!(
                said.contains("move") && said.contains("issued.jsonl"),
                "{said}"
            );
        }
        std::fs::remove_file(ca.join(sign)).expect("there");
    }
}
