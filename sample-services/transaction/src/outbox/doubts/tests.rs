//! Facts about blame.

use super::*;

fn letters(sequences: impl IntoIterator<Item = i64>) -> Vec<Letter> {
    let letter = |sequence| Letter {
        sequence,
        event_id: format!("e{sequence}"),
        body: String::new(),
        refusals: 0,
        failures: 0,
    };
    sequences.into_iter().map(letter).collect()
}

#[test]
fn while_nobody_answers_each_round_tries_others_and_none_is_blamed() {
    let mut doubts = Doubts::default();
    for round in 0..100 {
        assert_eq!(doubts.after(), round * 2);
        doubts.nobody_answered(letters([round * 2 + 1, round * 2 + 2]));
    }
    assert!(doubts.begin_again());
    assert_eq!(doubts.after(), 0);
    assert!(!doubts.begin_again());
    assert!(doubts.answered(&[3], Vec::new()).is_empty());
}

#[test]
fn who_fails_as_often_while_others_are_taken_is_set_aside_alone() {
    let mut doubts = Doubts::default();
    for round in 1..STRIKES_MAX {
        doubts.nobody_answered(letters([1]));
        let aside = doubts.answered(&[i64::from(round) * 10], letters([2]));
        assert!(aside.is_empty());
        assert_eq!(doubts.after(), 0, "the first is tried again at once");
    }
    // The second was only late.
    let aside = doubts.answered(&[2], letters([1]));
    let aside: Vec<_> = aside.iter().map(|letter| letter.sequence).collect();
    assert_eq!(aside, [1]);
    assert!(doubts.answered(&[4], letters([2])).is_empty());
}

#[test]
fn the_newest_is_tried_out_of_turn() {
    let mut doubts = Doubts::default();
    assert!(!doubts.is_silent());
    doubts.nobody_answered(letters([1, 2]));
    assert!(doubts.is_silent());
    doubts.probe(90);
    doubts.nobody_answered(letters([90, 3]));
    assert_eq!(doubts.after(), 3);
    assert!(doubts.answered(&[91], Vec::new()).is_empty());
    assert!(!doubts.is_silent());
}
