//! Going back and forth through revisions ends where it began.

use proptest::prelude::*;
use usher_config::kind::Kind;

use super::*;

fn key(name: u8) -> ObjectKey {
    ObjectKey {
        kind: Kind::Service,
        namespace: "bank".parse().expect("valid"),
        name: format!("s{name}").parse().expect("valid"),
    }
}

fn object(text: u8) -> StoredObject {
    StoredObject {
        text: format!("text {text}"),
        file: "a.yaml".into(),
        accepted_at: std::time::UNIX_EPOCH,
    }
}

fn record(number: u64, replaced_bytes: Option<u64>) -> RevisionRecord {
    let (origin, pinned) = (crate::registry::store::Origin::Apply, None);
    RevisionRecord {
        number,
        digest: String::new(),
        accepted_at: std::time::UNIX_EPOCH,
        changed: Vec::new(),
        changed_count: None,
        origin,
        author: String::new(),
        message: String::new(),
        pinned,
        replaced_bytes,
        still_permissive: BTreeMap::new(),
    }
}

proptest! {
    #[test]
    fn what_was_replaced_leads_back_to_every_revision(
        revisions in prop::collection::vec(prop::collection::btree_map(0_u8..6, 0_u8..9, 0..6), 1..8),
    ) {
        let worlds: Vec<BTreeMap<ObjectKey, StoredObject>> = revisions
            .iter()
            .map(|world| world.iter().map(|(name, text)| (key(*name), object(*text))).collect())
            .collect();
        let mut kept = Vec::new();
        for (before, after) in worlds.iter().zip(worlds.iter().skip(1)) {
            let changed = before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key));
            let objects = changed.map(|key| (key.clone(), before.get(key).cloned())).collect();
            kept.push(Replaced { objects, denied: BTreeMap::new() });
        }
        let mut earlier = Earlier { objects: worlds.last().expect("some").clone(), denied: BTreeMap::new() };
        for (replaced, world) in kept.into_iter().rev().zip(worlds.iter().rev().skip(1)) {
            // As a store keeps it.
            let entries = replaced.entries(7).expect("written");
            let read = entries.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            let read = Replaced::of_entries(read).expect("read");
            prop_assert_eq!(&read, &replaced);
            earlier.undo(read);
            prop_assert_eq!(&earlier.objects, world);
        }
    }
}

#[test]
fn what_is_kept_is_bounded_and_the_newest_is_always_kept() {
    let half = Some(REPLACED_BYTES_MAX / 2);
    let records: Vec<RevisionRecord> = (1..=5).map(|number| record(number, half)).collect();
    assert_eq!((replaced_from(&records), oldest(&records)), (4, 3));
    let huge = [record(1, Some(1)), record(2, Some(u64::MAX))];
    assert_eq!((replaced_from(&huge), oldest(&huge)), (2, 1));
    assert_eq!((replaced_from(&[]), oldest(&[])), (0, 0));
}

#[test]
fn before_a_revision_of_an_older_version_nothing_can_be_had() {
    let records = [
        record(6, None),
        record(7, None),
        record(8, Some(3)),
        record(9, Some(3)),
    ];
    assert_eq!((replaced_from(&records), oldest(&records)), (8, 7));
    let old = [record(6, None), record(7, None)];
    assert_eq!((replaced_from(&old), oldest(&old)), (7, 7));
}
