//! Every flag is explained.

use std::collections::HashSet;

use super::*;

#[test]
fn every_flag_has_its_own_cause_and_a_remedy() {
    let explanations = Flag::ALL.map(explain);
    let causes: HashSet<&str> = explanations
        .iter()
        .map(|explanation| explanation.cause)
        .collect();
    assert_eq!(causes.len(), Flag::ALL.len());
    assert!(
        explanations
            .iter()
            .all(|explanation| !explanation.remedy.is_empty())
    );
}
