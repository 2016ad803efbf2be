//! What was there stays until a list is whole.

use super::*;

fn keys(listed: &Listed<u8, ()>) -> Vec<u8> {
    listed.all.keys().copied().collect()
}

#[test]
fn a_list_that_breaks_off_takes_nothing_away_and_a_whole_one_does() {
    let mut listed = Listed::default();
    listed.begins();
    for key in [1, 2, 3] {
        listed.is(key, ());
    }
    assert!(listed.all.is_empty() && !listed.is_whole, "not whole yet");
    assert!(listed.is_whole());
    listed.begins();
    listed.is(1, ());
    assert_eq!(keys(&listed), [1, 2, 3]);
    listed.begins();
    listed.is(2, ());
    assert!(listed.is_whole());
    assert_eq!(keys(&listed), [2]);
}

#[test]
fn a_list_that_has_not_begun_does_not_end() {
    let mut listed = Listed::<u8, ()>::default();
    listed.is(1, ());
    assert!(!listed.is_whole() && !listed.is_whole);
}

#[test]
fn a_list_that_is_longer_than_can_be_is_never_in_force() {
    let mut listed = Listed::default();
    listed.begins();
    listed.is(0, ());
    assert!(listed.is_whole());
    listed.begins();
    for key in 0..=OBJECTS_MAX {
        listed.is(key, ());
    }
    assert!(listed.is_beyond && !listed.is_whole());
    assert_eq!(listed.all.len(), 1);
    listed.begins();
    assert!(listed.is_whole() && !listed.is_beyond, "it is short again");
}
