//! What is staged comes back whole, and no part is larger than etcd takes.

use proptest::prelude::*;

use super::*;

fn changes() -> impl Strategy<Value = Changes> {
    let value = prop_oneof![
        3 => "[a-z\"\\\\\u{e9}]{0,20}".prop_map(Some),
        1 => (0_usize..BYTES_MAX / 2).prop_map(|length| Some("x".repeat(length))),
        1 => Just(None),
    ];
    proptest::collection::btree_map("[a-z]{1,12}", value, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_fit_and_are_all_there(changes in changes()) {
        let parts = batches(&changes);
        for part in &parts {
            prop_assert!(part.len() <= OPERATIONS_MAX);
            let bytes: usize = part.iter().map(|(key, value)| size(key, *value)).sum();
            prop_assert!(bytes <= BYTES_MAX);
        }
        let together: Vec<_> = parts.concat();
        let all: Vec<_> = changes.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        prop_assert_eq!(together, all);
        match plan(&changes).expect("each fits") {
            Plan::Direct => prop_assert!(parts.len() <= 1),
            Plan::Staged(pieces) => {
                prop_assert!(pieces.iter().all(|piece| piece.len() <= BYTES_MAX));
                prop_assert_eq!(staged(&pieces).expect("whole"), changes);
            }
        }
    }
}

#[test]
fn a_value_that_fits_nowhere_is_named() {
    let changes = Changes::from([("objects/big".to_owned(), Some("x".repeat(BYTES_MAX)))]);
    let refused = plan(&changes).expect_err("too long");
    assert!(
        refused.to_string().starts_with("objects/big is "),
        "{refused}"
    );
}
