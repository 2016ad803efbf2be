//! The file stays as large as what is in it, whatever came and went.

use std::collections::BTreeMap;

use super::*;
use crate::registry::{
    history::{Replaced, replaced_from},
    store::Origin,
};

const MEGABYTE: usize = 1 << 20;

/// What a control plane would commit: objects of these sizes, and what they took the place of.
fn replace(store: &EmbeddedStore, sizes: &[usize]) {
    let stored = store.load().expect("readable");
    let number = stored.number() + 1;
    let at = std::time::SystemTime::UNIX_EPOCH;
    let object = |size: &usize| StoredObject {
        text: number.to_string().repeat(size / number.to_string().len()),
        file: "a.yaml".to_owned(),
        accepted_at: at,
    };
    let name = |index: usize| object_key(&format!("Service bank/s{index}")).expect("valid");
    let accepted: BTreeMap<ObjectKey, StoredObject> = (sizes.iter().enumerate())
        .map(|(index, size)| (name(index), object(size)))
        .collect();
    let deleted: Vec<ObjectKey> = (stored.objects.keys())
        .filter(|key| !accepted.contains_key(key))
        .cloned()
        .collect();
    let names = accepted.keys().chain(&deleted);
    let replaced = Replaced {
        objects: names
            .map(|key| (key.clone(), stored.objects.get(key).cloned()))
            .collect(),
        denied: BTreeMap::new(),
    };
    let revision = RevisionRecord {
        number,
        digest: number.to_string(),
        accepted_at: at,
        changed: Vec::new(),
        changed_count: None,
        origin: Origin::Apply,
        author: String::new(),
        message: String::new(),
        pinned: None,
        replaced_bytes: Some(replaced.bytes()),
        still_permissive: BTreeMap::new(),
    };
    let records: Vec<RevisionRecord> = (stored.revisions.iter())
        .chain([&revision])
        .cloned()
        .collect();
    let commit = Commit {
        replaced_from: replaced_from(&records),
        revision,
        accepted,
        deleted,
        denied: BTreeMap::new(),
        addresses: BTreeMap::new(),
        deleted_services: BTreeMap::new(),
        replaced,
    };
    store.commit(&commit).expect("written");
}

fn megabytes(path: &Path) -> usize {
    let length = path.metadata().expect("there").len();
    usize::try_from(length).expect("small") / MEGABYTE
}

#[test]
fn a_file_does_not_grow_with_the_number_of_changes() {
    let directory = tempfile::tempdir().expect("writable");
    let path = directory.path().join("store.redb");
    let store = EmbeddedStore::open(&path).expect("opens");
    // A hundred revisions are kept; from then on each takes the place of an old one.
    let sizes = [20_000; 5];
    for _ in 0..2 * HISTORY {
        replace(&store, &sizes);
    }
    let before = megabytes(&path);
    for _ in 0..10 * HISTORY {
        replace(&store, &sizes);
    }
    let after = megabytes(&path);
    assert!(
        after <= before + before / 2 + 1,
        "{before} MiB, then {after} MiB"
    );
}

#[test]
fn what_a_large_mesh_took_is_given_back_when_it_is_gone_and_the_file_is_opened_again() {
    let directory = tempfile::tempdir().expect("writable");
    let path = directory.path().join("store.redb");
    let store = EmbeddedStore::open(&path).expect("opens");
    for _ in 0..20 {
        replace(&store, &[MEGABYTE; 3]);
    }
    let large = megabytes(&path);
    for _ in 0..2 * HISTORY {
        replace(&store, &[100]);
    }
    drop(store);
    let stored = EmbeddedStore::open(&path).expect("opens").load();
    assert_eq!(stored.expect("readable").number(), 20 + 2 * 100);
    let small = megabytes(&path);
    assert!(
        small <= 4 && small * 10 < large,
        "{large} MiB, then {small} MiB"
    );
}
