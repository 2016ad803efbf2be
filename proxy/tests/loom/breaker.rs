//! The breaker's word under concurrent askers and verdicts.

#[path = "../../src/policy/breaker/state.rs"]
mod state;
#[path = "../../src/policy/breaker/word.rs"]
mod word;

use std::time::Duration;

use loom::{sync::Arc, thread};

use super::{clock::Tick, explore};
use state::{Event, Moment, Phase, Rules, State};
use word::Word;

const RULES: Rules = Rules {
    open_for: Duration::from_secs(5),
    open_for_max: Duration::from_secs(60),
    permits: 3,
    max_wait: Duration::from_secs(10),
};

const AT: Moment = Moment {
    now: Tick::from_millis(10_000),
    random: 1,
};

fn half_open(permits: u8, successes: u8) -> State {
    State {
        phase: Phase::HalfOpen,
        generation: 7,
        until_ms: 20_000,
        permits,
        successes,
        trips: 0,
    }
}

/// Whether an asker may pass, as `Breaker::admit` reads it off a step.
fn passes(word: &Word) -> bool {
    let step = word.apply(Event::Ask, AT, &RULES);
    step.after.phase == Phase::HalfOpen && step.after != step.before
}

#[test]
fn exactly_three_trials_pass_whoever_asks() {
    explore(|| {
        let word = Arc::new(Word::new(State {
            phase: Phase::Open,
            until_ms: 10_000,
            ..State::NEW
        }));
        let asker = |word: Arc<Word>| move || (0..2).filter(|_| passes(&word)).count();
        let other = thread::spawn(asker(Arc::clone(&word)));
        let here = asker(Arc::clone(&word))();
        assert_eq!(here + other.join().unwrap(), 3);
        assert_eq!(word.load().permits, 0);
    });
}

#[test]
fn a_permit_given_back_is_neither_lost_nor_doubled() {
    explore(|| {
        let word = Arc::new(Word::new(half_open(0, 0)));
        let canceller = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.apply(Event::TrialCancelled(7), AT, &RULES))
        };
        let passed = u8::from(passes(&word));
        canceller.join().unwrap();
        assert_eq!(word.load().permits + passed, 1);
    });
}

#[test]
fn of_two_verdicts_one_decides_and_the_other_is_of_an_older_generation() {
    explore(|| {
        let word = Arc::new(Word::new(half_open(0, 2)));
        let failing = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.apply(Event::TrialFailed(7), AT, &RULES))
        };
        let here = word.apply(Event::TrialSucceeded(7), AT, &RULES);
        let there = failing.join().unwrap();
        let decided = [here, there]
            .iter()
            .filter(|step| step.before.phase != step.after.phase)
            .count();
        assert_eq!(decided, 1);
        assert_eq!(word.load().generation, 8);
    });
}
