//! Both stores remember the same, and the embedded one across restarts.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use usher_config::kind::{Kind, ObjectKey, TargetKind, TargetRef};

use super::*;
use store::{Commit, HISTORY, RevisionRecord, StoredObject};

fn key(name: &str) -> ObjectKey {
    let name = name.parse().expect("valid");
    ObjectKey {
        kind: Kind::Service,
        namespace: "bank".parse().expect("valid"),
        name,
    }
}

fn commit(number: u64, accepted: &[&str], deleted: &[&str]) -> Commit {
    let accepted_at = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
    let object = StoredObject {
        text: format!("text {number}"),
        file: "a.yaml".into(),
        accepted_at,
    };
    Commit {
        revision: RevisionRecord {
            number,
            digest: format!("d{number}"),
            accepted_at,
            changed: vec![],
        },
        accepted: accepted
            .iter()
            .map(|name| (key(name), object.clone()))
            .collect(),
        deleted: deleted.iter().map(|name| key(name)).collect(),
        denied: BTreeMap::from([(
            ObjectKey {
                kind: Kind::AccessPolicy,
                ..key("closed")
            },
            Denied {
                targets: [
                    (TargetKind::Service, None),
                    (TargetKind::HttpRoute, Some("r")),
                ]
                .map(|(kind, section)| TargetRef {
                    kind,
                    name: "a".parse().expect("valid"),
                    section_name: section.map(|name| name.parse().expect("valid")),
                })
                .into(),
                file: format!("{number}.yaml"),
            },
        )]),
        addresses: BTreeMap::from([(
            "bank/a".parse().expect("valid"),
            "240.240.0.9".parse().expect("valid"),
        )]),
        deleted_services: BTreeMap::from([("bank/a".parse().expect("valid"), accepted_at)]),
    }
}

fn exercise(store: &dyn Store) {
    assert_eq!(store.load().expect("empty").number(), 0);
    store.commit(&commit(1, &["a", "b"], &[])).expect("first");
    store.commit(&commit(2, &["c"], &["a"])).expect("second");
    let refused = store.commit(&commit(2, &["x"], &[]));
    assert!(
        matches!(
            refused,
            Err(StoreError::Conflict {
                stored: 2,
                expected: 1
            })
        ),
        "{refused:?}"
    );
    store
        .set_trust_domain(&"mesh.test".parse().expect("valid"))
        .expect("stored");
    let stored = store.load().expect("loaded");
    assert_eq!(stored.number(), 2);
    assert_eq!(
        stored.objects.keys().cloned().collect::<Vec<_>>(),
        [key("b"), key("c")]
    );
    assert_eq!(stored.addresses, commit(2, &[], &[]).addresses);
    assert_eq!(stored.denied, commit(2, &[], &[]).denied);
    assert_eq!(
        stored
            .trust_domain
            .map(|domain| domain.to_string())
            .as_deref(),
        Some("mesh.test")
    );
}

#[test]
fn a_memory_store_keeps_what_was_committed() {
    exercise(&MemoryStore::default());
}

#[test]
fn an_embedded_store_keeps_it_across_a_restart() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("store.redb");
    exercise(&EmbeddedStore::open(&path).expect("new"));
    let before = {
        let store = EmbeddedStore::open(&path).expect("again");
        store.load().expect("loaded")
    };
    assert_eq!(before.number(), 2);
    assert_eq!(before.revisions.len(), 2);
}

#[test]
fn only_recent_revisions_are_remembered() {
    let directory = tempfile::tempdir().expect("directory");
    let store = MemoryStore::default();
    let embedded = EmbeddedStore::open(&directory.path().join("store.redb")).expect("new");
    let total = u64::try_from(HISTORY).expect("small") + 3;
    for number in 1..=total {
        store.commit(&commit(number, &[], &[])).expect("memory");
        embedded
            .commit(&commit(number, &[], &[]))
            .expect("embedded");
    }
    let (memory, embedded) = (
        store.load().expect("loaded"),
        embedded.load().expect("loaded"),
    );
    assert_eq!(memory, embedded);
    assert_eq!((memory.revisions.len(), memory.number()), (HISTORY, total));
}

#[test]
fn a_file_that_is_no_store_is_refused_not_overwritten() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("store.redb");
    std::fs::write(&path, "precious").expect("written");
    assert!(EmbeddedStore::open(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "precious");
}

#[test]
fn a_second_control_plane_on_the_same_store_is_told_so() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("store.redb");
    let _first = EmbeddedStore::open(&path).expect("first");
    let second = EmbeddedStore::open(&path).err();
    assert!(
        matches!(second, Some(StoreError::InUse { .. })),
        "{second:?}"
    );
}
