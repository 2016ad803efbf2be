//! What is said to be applied is, in any order of departures and acknowledgements.

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// So far after the one before, as many at once.
    Seen(u64, u32),
    /// A list lacks as many.
    Missed(u64, u32),
    /// One of those that are open, by its place among them.
    Applied(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..40, 0_u32..4).prop_map(|(by, number)| Step::Seen(by, number)),
        1 => (1_u64..40, 0_u32..4).prop_map(|(by, number)| Step::Missed(by, number)),
        5 => (0_usize..40).prop_map(Step::Applied),
    ]
}

proptest! {
    #[test]
    fn nothing_is_said_to_be_applied_before_it_is(order in vec(step(), 0..60)) {
        let (mut departures, mut at) = (Departures::default(), 0);
        // The positions that each of them may have, every one with as many of them as there are.
        let mut open: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
        for step in order {
            match step {
                Step::Seen(by, number) => {
                    at += by;
                    let all = (0..number).map(|_| at);
                    open.extend(all.clone().map(|at| at..=at));
                    departures.seen(at, all);
                }
                Step::Missed(by, number) => {
                    let first = at + 1;
                    at += by;
                    open.extend((0..number).map(|_| first..=at));
                    departures.missed(at, usize::try_from(number).expect("small"));
                }
                Step::Applied(_) if open.is_empty() => {}
                Step::Applied(which) => {
                    let one = open.remove(which % open.len());
                    departures.applied(*one.end(), 0);
                }
            }
            let said = departures.acknowledgement();
            for position in 1..=at {
                let is_open = open.iter().any(|one| one.contains(&position));
                prop_assert!(!(is_open && said.covers(position)), "{} of {:?}", position, open);
            }
            prop_assert!(!said.covers(at + 1));
            prop_assert!(!open.is_empty() || said.covers(at));
        }
    }

    #[test]
    fn all_that_is_applied_is_said_when_positions_are_known(order in vec((1_u64..40, 0_u32..4, 0_usize..40), 0..60)) {
        let (mut departures, mut at, mut open) = (Departures::default(), 0, Vec::new());
        for (by, number, which) in order {
            at += by;
            departures.seen(at, (0..number).map(|_| at));
            open.extend((0..number).map(|_| at));
            if !open.is_empty() {
                departures.applied(open.remove(which % open.len()), 0);
            }
            let said = departures.acknowledgement();
            for position in 1..=at {
                prop_assert_eq!(said.covers(position), !open.contains(&position));
            }
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
    (1..many).for_each(|position| departures.applied(position, 0));
    assert!(!departures.acknowledgement().covers(2), "not all are over");
    departures.applied(many, 0);
    assert!(departures.acknowledgement().covers(many));
}

#[test]
fn what_left_while_nobody_looked_holds_up_all_that_may_be_meant() {
    let mut departures = Departures::default();
    departures.seen(5, []);
    departures.missed(9, 2);
    let said = departures.acknowledgement();
    assert!(said.covers(5) && !said.covers(6) && !said.covers(9));
    departures.applied(9, 0);
    assert!(!departures.acknowledgement().covers(9), "one of two");
    departures.applied(9, 0);
    assert!(departures.acknowledgement().covers(9));
}

#[test]
fn a_store_that_was_set_back_begins_anew() {
    let mut departures = Departures::default();
    departures.seen(90, [80, 80, 90]);
    departures.set_back();
    departures.missed(50, 0);
    let said = departures.acknowledgement();
    assert!(said.covers(50) && !said.covers(51), "{said:?}");
    departures.seen(80, [80]);
    departures.applied(80, 0);
    assert!(!departures.acknowledgement().covers(80), "that was another");
    departures.applied(80, departures.era());
    assert!(departures.acknowledgement().covers(80));
}
