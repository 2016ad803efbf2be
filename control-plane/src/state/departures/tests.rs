//! What is said to be applied is, in any order of departures and acknowledgements.

use proptest::{collection::vec, prelude::*};

use super::*;

proptest! {
    #[test]
    fn nothing_is_said_to_be_applied_before_it_is(order in vec((1_u64..40, any::<bool>()), 0..60)) {
        let (mut departures, mut at, mut open) = (Departures::default(), 0, BTreeSet::new());
        for (step, departs) in order {
            if departs {
                at += step;
                open.insert(at);
                departures.seen(at, [at]);
            } else if let Some(first) = open.iter().nth(usize::try_from(step).expect("small") % open.len().max(1)).copied() {
                open.remove(&first);
                departures.applied(first);
            }
            let said = departures.acknowledgement();
            for position in 1..=at {
                prop_assert_eq!(said.covers(position), !open.contains(&position));
            }
            prop_assert!(!said.covers(at + 1));
        }
    }
}

#[test]
fn more_than_can_be_told_is_not_told_at_all() {
    let mut departures = Departures::default();
    let many = u64::try_from(BEHIND_MAX).expect("small") + 2;
    departures.seen(1, [1]);
    departures.seen(many, 2..=many);
    assert!(!departures.acknowledgement().covers(2));
    (1..many).for_each(|position| departures.applied(position));
    assert!(!departures.acknowledgement().covers(2), "not all are over");
    departures.applied(many);
    assert!(departures.acknowledgement().covers(many));
}

#[test]
fn what_left_while_nobody_looked_holds_up_all_that_may_be_meant() {
    let mut departures = Departures::default();
    departures.seen(5, []);
    departures.missed(9);
    let said = departures.acknowledgement();
    assert!(said.covers(5) && !said.covers(6) && !said.covers(9));
    departures.applied(9);
    assert!(departures.acknowledgement().covers(9));
}
