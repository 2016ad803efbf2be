//! Everything of both, once, in order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn each_key_comes_once_with_what_both_have(
        one in prop::collection::btree_map(0..20_u8, any::<u8>(), 0..20),
        other in prop::collection::btree_map(0..20_u8, any::<u8>(), 0..20)
    ) {
        let all: Vec<_> = beside(&one, &other).collect();
        let keys: BTreeSet<&u8> = one.keys().chain(other.keys()).collect();
        prop_assert!(all.iter().map(|(key, ..)| *key).eq(keys));
        for (key, was, is) in all {
            prop_assert_eq!((was, is), (one.get(key), other.get(key)));
        }
    }
}
