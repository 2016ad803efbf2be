//! A store is recognized that was set back, and one that was written since.

use std::{collections::BTreeMap, time::SystemTime};

use super::*;
use crate::registry::store::Origin;

fn record(number: u64, at: u64) -> RevisionRecord {
    RevisionRecord {
        number,
        digest: format!("d{number}"),
        accepted_at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
        changed: Vec::new(),
        changed_count: None,
        origin: Origin::Apply,
        author: String::new(),
        message: String::new(),
        pinned: None,
        replaced_bytes: None,
        still_permissive: BTreeMap::new(),
    }
}

#[test]
fn a_store_is_set_back_whose_newest_revision_was_ours_before() {
    let ours = [record(5, 50), record(6, 60), record(7, 70)];
    let cases: [(&str, &[RevisionRecord], bool); 7] = [
        ("as it is", &ours, false),
        ("newer", &[record(8, 80)], false),
        ("emptied", &[], true),
        ("one of ours", &ours[..2], true),
        ("written after it was set back", &[record(6, 90)], false),
        ("from before all of ours", &[record(2, 20)], true),
        ("emptied, then written", &[record(1, 90)], false),
    ];
    for (what, stored, expected) in cases {
        assert_eq!(is_set_back(stored, &ours), expected, "{what}");
    }
    assert!(!is_set_back(&[], &[]), "nothing was ever there");
}
