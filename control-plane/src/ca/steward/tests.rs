//! Control planes that share their roots: who has the key signs for the others, and a root takes another one's place
//! without anybody being cut off.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex as Lock, PoisonError},
};

use rcgen::KeyPair;
use time::{Duration as Span, OffsetDateTime};

use super::*;
use crate::ca::{
    Grounds,
    authority::Svid,
    issuer::{
        GivenFiles,
        tests::{files, made},
    },
    roots::{Force, Phase, RootSet},
    tests::{account, verified},
    trust::Answer,
};

mod refused;

/// What several share.
#[derive(Default)]
struct Memory(Lock<Shared>);

impl Memory {
    fn with<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TrustStore for Memory {
    fn read(&self) -> Answer<'_, Shared> {
        Box::pin(async { Ok(self.with(|shared| shared.clone())) })
    }

    fn write_roots(&self, next: RootSet) -> Answer<'_, bool> {
        let written = self.with(|shared| {
            let seen = shared.roots.as_ref().map_or(0, |roots| roots.version);
            let is_newer = seen < next.version;
            if is_newer {
                shared.roots = Some(next);
            }
            is_newer
        });
        Box::pin(async move { Ok(written) })
    }

    fn say(&self, id: String, signer: Signer) -> Answer<'_, ()> {
        self.with(|shared| shared.signers.insert(id, signer));
        Box::pin(async { Ok(()) })
    }

    fn grant(&self, id: String, grant: Grant) -> Answer<'_, ()> {
        self.with(|shared| shared.grants.insert(id, grant));
        Box::pin(async { Ok(()) })
    }

    fn forget(&self, id: String) -> Answer<'_, ()> {
        self.with(|shared| shared.signers.remove(&id));
        Box::pin(async { Ok(()) })
    }
}

struct One {
    authority: Arc<Authority>,
    steward: Steward,
    census: Arc<Lock<Census>>,
}

fn one(directory: &Path, store: &Arc<Memory>, given: Option<GivenFiles>) -> One {
    let domain = "usher.local".parse().expect("valid");
    let ca = directory.join("ca");
    let roots = store.with(|shared| {
        let first = || Authority::first_roots(&ca, &domain, given.as_ref()).expect("made");
        shared.roots.get_or_insert_with(first).clone()
    });
    let authority = Authority::with_roots(&ca, &domain, (given, roots)).expect("opens");
    let authority = Arc::new(authority);
    let census = Arc::<Lock<Census>>::default();
    let (counted, seen) = (census.clone(), authority.clone());
    let count: Count = Arc::new(move || {
        let census = counted.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.roots().version, census.clone())
    });
    let name = directory.display().to_string();
    let steward = Steward::new(authority.clone(), store.clone(), (count, name));
    One {
        authority,
        steward,
        census,
    }
}

impl One {
    fn sidecars(&self, by_root: &[(&str, usize)], behind: usize) {
        let by_root = by_root.iter();
        let by_root: BTreeMap<String, usize> = by_root
            .map(|(pin, count)| ((*pin).to_owned(), *count))
            .collect();
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = Census { by_root, behind };
    }

    fn issue(&self, now: OffsetDateTime) -> Svid {
        let key = ProvenKey::of(&KeyPair::generate().expect("random")).expect("P-256");
        let issued = self
            .authority
            .issue(&account(), &key, now, Grounds::ControlPlane);
        issued.expect("issued")
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("writable")
}

fn certificate(roots: &RootSet, pin: &str) -> Vec<u8> {
    roots.get(pin).expect("there").certificate.clone()
}

#[tokio::test]
async fn one_without_the_roots_key_is_granted_an_intermediate_and_keeps_it() {
    let (first, second) = (folder(), folder());
    let store = Arc::<Memory>::default();
    let now = OffsetDateTime::now_utc();
    let maker = one(first.path(), &store, None);
    maker.steward.turn(now).await.expect("turned");
    let other = one(second.path(), &store, None);
    other.steward.turn(now).await.expect("turned");
    assert!(other.authority.issuer().is_none(), "nobody has signed yet");
    let report = maker.steward.report(now).await.expect("there");
    assert!(report.control_planes.iter().any(|one| one.waits));
    other.steward.turn(now).await.expect("turned");
    let svid = other.issue(now);
    let root = certificate(&other.authority.roots(), &other.authority.pin());
    verified(&svid.chain, &[&root], now).expect("leads to the mesh's root");
    assert!(!second.path().join("ca/root.key").exists());
    let all = store.with(|shared| serde_json::to_string(shared).expect("written"));
    for directory in [first.path(), second.path()] {
        for name in ["root.key", "issuer.key"] {
            let Ok(pem) = std::fs::read_to_string(directory.join("ca").join(name)) else {
                continue;
            };
            let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
            assert!(!all.contains(&body[..40]), "a private key is shared");
        }
    }
    drop((maker, other));
    let again = one(second.path(), &store, None);
    again.steward.turn(now).await.expect("turned");
    assert_eq!(
        again.issue(now).chain[1],
        svid.chain[1],
        "kept over a restart"
    );
    // At half of its life a new one, also while the old one holds.
    let later = now + Span::days(4);
    again.steward.turn(later).await.expect("turned");
    let _maker = one(first.path(), &store, None);
    _maker.steward.turn(later).await.expect("turned");
    again.steward.turn(later).await.expect("turned");
    assert_ne!(again.issue(later).chain[1], svid.chain[1], "renewed");
}

#[tokio::test]
async fn a_root_takes_anothers_place_and_nobody_is_cut_off() {
    let directory = folder();
    let store = Arc::<Memory>::default();
    let mut now = OffsetDateTime::now_utc();
    let it = one(directory.path(), &store, None);
    it.steward.turn(now).await.expect("turned");
    let old = it.authority.pin();
    let old_root = certificate(&it.authority.roots(), &old);
    let before = it.issue(now);
    it.sidecars(&[(&old, 3)], 0);

    let added = it.steward.rotate(false, now).await.expect("added");
    assert_eq!(
        (added.phase, added.made, added.crossed),
        (Phase::Adding, true, true)
    );
    assert_eq!(it.authority.pin(), old, "known, not signing");
    let new_root = certificate(&it.authority.roots(), &added.sha256);
    it.sidecars(&[(&old, 3)], 1);
    let early = it
        .steward
        .rotate(false, now)
        .await
        .expect_err("one does not know it");
    assert!(early.to_string().contains("do not know"), "{early}");
    it.sidecars(&[(&old, 3)], 0);
    let active = it.steward.rotate(false, now).await.expect("activated");
    assert_eq!(
        (active.phase, &active.sha256),
        (Phase::Active, &added.sha256)
    );

    let after = it.issue(now);
    verified(&after.chain, &[&new_root], now).expect("under the new root");
    verified(&after.chain, &[&old_root], now).expect("who knows only the old one finds a path");
    verified(&before.chain, &[&old_root, &new_root], now).expect("still trusted");
    assert_eq!(it.authority.root_of(&before.chain), Some(old.clone()));
    assert_eq!(
        it.authority.root_of(&after.chain),
        Some(added.sha256.clone())
    );

    it.sidecars(&[(&old, 1), (&added.sha256, 2)], 0);
    let report = it.steward.report(now).await.expect("there");
    let percents: Vec<f64> = report.roots.iter().map(|root| root.percent).collect();
    assert_eq!(percents, [33.3, 66.7]);
    for force in [Force::Nobody, Force::Absent] {
        let used = it.steward.retire(&old[..8], force, now).await;
        let used = used.expect_err("a connected sidecar needs it").to_string();
        assert!(used.contains("1 connected sidecars"), "{used}");
    }
    it.sidecars(&[(&added.sha256, 3)], 0);
    assert!(
        it.steward
            .retire(&old[..8], Force::Nobody, now)
            .await
            .is_err(),
        "one may be away"
    );
    now += Span::hours(25);
    it.steward
        .retire(&old[..8], Force::Nobody, now)
        .await
        .expect("over");
    let later = it.issue(now);
    verified(&later.chain, &[&new_root], now).expect("as before");
    verified(&later.chain, &[&old_root], now).expect_err("no way back to the old one");
    drop(it);
    let again = one(directory.path(), &store, None);
    assert_eq!(again.authority.pin(), added.sha256, "after a restart too");
}

#[tokio::test]
async fn a_directory_of_another_mesh_is_refused() {
    let (ours, theirs) = (folder(), folder());
    drop(one(theirs.path(), &Arc::default(), None));
    let store = Arc::<Memory>::default();
    drop(one(ours.path(), &store, None));
    let roots = store.with(|shared| shared.roots.clone()).expect("made");
    let domain = "usher.local".parse().expect("valid");
    let opened = Authority::with_roots(&theirs.path().join("ca"), &domain, (None, roots));
    let Err(AuthorityError::OtherRoot { .. }) = opened else {
        panic!("signs for a mesh that is not its own")
    };
}

#[tokio::test]
async fn given_files_sign_are_read_again_and_bring_their_root() {
    let directory = folder();
    let store = Arc::<Memory>::default();
    let now = OffsetDateTime::now_utc();
    let root = made("root", None, true);
    let issuer = made("issuer", Some(&root), true);
    let given = files(directory.path(), &[&issuer, &root], &issuer.key);
    let it = one(directory.path(), &store, Some(given));
    it.steward.turn(now).await.expect("turned");
    let root_der = root.certificate.der().to_vec();
    verified(&it.issue(now).chain, &[&root_der], now).expect("under the given root");
    assert!(
        !directory.path().join("ca/root.key").exists(),
        "none of our own is made"
    );

    let renewed = made("issuer 2", Some(&root), true);
    files(directory.path(), &[&renewed, &root], &renewed.key);
    it.steward.turn(now).await.expect("turned");
    assert_eq!(&it.issue(now).chain[1], renewed.certificate.der());

    let early = it
        .steward
        .rotate(false, now)
        .await
        .expect_err("there is no other root");
    assert!(early.to_string().contains("files of the new"), "{early}");
    let other_root = made("other root", None, true);
    let other = made("other issuer", Some(&other_root), true);
    files(directory.path(), &[&other, &other_root], &other.key);
    it.steward.turn(now).await.expect("turned");
    assert_eq!(it.authority.roots().roots.len(), 2, "known by itself");
    assert_eq!(
        &it.issue(now).chain[1],
        renewed.certificate.der(),
        "the old one signs until told"
    );
    it.steward.rotate(false, now).await.expect("activated");
    assert_eq!(&it.issue(now).chain[1], other.certificate.der());

    std::fs::write(directory.path().join("given.pem"), "nothing").expect("writable");
    assert!(it.steward.turn(now).await.is_err(), "said");
    assert_eq!(
        &it.issue(now).chain[1],
        other.certificate.der(),
        "what was good goes on"
    );
}

#[tokio::test]
async fn a_store_that_was_emptied_or_set_back_gets_its_roots_back() {
    let directory = folder();
    let store = Arc::<Memory>::default();
    let now = OffsetDateTime::now_utc();
    let it = one(directory.path(), &store, None);
    it.steward.turn(now).await.expect("turned");
    let old = store.with(|shared| shared.clone());
    it.steward.rotate(false, now).await.expect("added");
    it.steward.rotate(false, now).await.expect("activated");
    let roots = it.authority.roots();
    for lost in [Shared::default(), old] {
        store.with(|shared| *shared = lost);
        it.steward.turn(now).await.expect("turned");
        let found = store.with(|shared| shared.roots.clone());
        assert_eq!(found.as_ref(), Some(&*roots));
    }
    let other = RootSet::first("f".repeat(64), vec![1], now);
    store.with(|shared| {
        shared.roots = Some(RootSet {
            version: roots.version,
            ..other
        });
    });
    let error = it.steward.turn(now).await.expect_err("two meshes in one");
    assert!(error.to_string().contains("other roots"), "{error}");
    assert_eq!(*it.authority.roots(), *roots, "its sidecars know these");
}

#[tokio::test]
async fn another_ones_clock_does_not_matter_and_a_root_nobody_has_the_key_of_does_not_sign() {
    let (first, second) = (folder(), folder());
    let store = Arc::<Memory>::default();
    let now = OffsetDateTime::now_utc();
    let maker = one(first.path(), &store, None);
    maker.steward.turn(now).await.expect("turned");
    let other = one(second.path(), &store, None);
    let behind = now - Span::minutes(3);
    other.steward.turn(behind).await.expect("turned");
    maker.steward.turn(now).await.expect("turned");
    other.steward.turn(behind).await.expect("turned");
    assert!(other.authority.issuer().is_some(), "granted all the same");

    let refused = other.steward.rotate(false, now).await;
    let refused = refused.expect_err("the key is elsewhere").to_string();
    assert!(refused.contains("run it there"), "{refused}");
    let old = maker.authority.pin();
    other.sidecars(&[(&old, 7)], 0);
    other.steward.turn(behind).await.expect("turned");
    maker.steward.rotate(false, now).await.expect("added");
    let unaware = maker.steward.rotate(false, now).await;
    let unaware = unaware
        .expect_err("the other one does not know it yet")
        .to_string();
    assert!(unaware.contains("do not know"), "{unaware}");
    other
        .steward
        .turn(behind + Span::seconds(6))
        .await
        .expect("turned");
    let added = maker.authority.roots();
    let added = added.roots.iter().find(|root| root.phase == Phase::Adding);
    let name = format!("ca/root-{}.key", short(&added.expect("there").pin));
    let key = first.path().join(name);
    let gone = key.with_extension("gone");
    std::fs::rename(&key, &gone).expect("there");
    let lost = maker.steward.rotate(false, now).await;
    let lost = lost.expect_err("nobody could sign").to_string();
    assert!(lost.contains("no control plane that lives"), "{lost}");
    std::fs::rename(&gone, &key).expect("there");
    maker.steward.rotate(false, now).await.expect("activated");
}
