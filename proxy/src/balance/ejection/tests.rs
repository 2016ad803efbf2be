//! Never more are out than allowed, and everybody can return.

use std::time::Duration;

use proptest::prelude::*;

use super::state::State;
use super::*;
use crate::clock::Tick;

const RULES: Rules = Rules {
    consecutive_failures: 5,
    base: Duration::from_secs(5),
    max: Duration::from_secs(300),
};

fn length(state: State, now: Tick) -> u64 {
    state.at_ms - now.as_millis()
}

#[test]
fn ejections_double_up_to_five_minutes() {
    let (mut state, mut now) = (State::NEW, Tick::ZERO);
    let mut lengths = Vec::new();
    for _ in 0..9 {
        state = state.step(Event::RateTooLow, now, u64::MAX / 2, &RULES);
        lengths.push(length(state, now) / 1000);
        now = Tick::from_millis(state.at_ms);
        state = state
            .step(Event::Ask, now, 0, &RULES)
            .step(Event::ProbeSucceeded, now, 0, &RULES);
        assert_eq!(state.standing, Standing::In);
    }
    assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn an_endpoint_that_stayed_well_starts_anew() {
    let out = State {
        times: 6,
        ..State::NEW
    };
    let later = Tick::from_millis(300_000);
    let state = out.step(Event::RateTooLow, later, u64::MAX / 2, &RULES);
    assert_eq!(length(state, later) / 1000, 5);
}

#[test]
fn attempts_from_before_the_ejection_change_nothing() {
    let now = Tick::from_millis(10);
    let out = State::NEW.step(Event::RateTooLow, now, 0, &RULES);
    for event in [
        Event::Succeeded,
        Event::Failed,
        Event::RateTooLow,
        Event::ProbeFailed,
        Event::Ask,
    ] {
        assert_eq!(out.step(event, now, 0, &RULES), out, "{event:?}");
    }
}

#[test]
fn a_full_roster_keeps_the_next_in_and_at_the_brink() {
    let roster = Roster::new();
    roster.resize(2);
    let room = Room {
        percent: 50,
        min_ready: 1,
    };
    let words = [Word::new(), Word::new()];
    let fail =
        |word: &Word| word.apply_bad(Event::Failed, (Tick::ZERO, 0), &RULES, (&roster, room));
    for word in &words {
        let _ = (0..5).map(|_| fail(word)).last();
    }
    assert_eq!(words[0].load().standing, Standing::Out);
    assert_eq!(
        (words[1].load().standing, words[1].load().failures),
        (Standing::In, 4)
    );
    roster.release();
    assert_eq!(fail(&words[1]).after.standing, Standing::Out);
}

#[test]
fn who_may_not_be_chosen_any_more_leaves_its_place_outside() {
    let roster = Roster::new();
    roster.resize(2);
    let room = Room {
        percent: 50,
        min_ready: 1,
    };
    let words = [Word::new(), Word::new()];
    for word in &words {
        let rate = Event::RateTooLow;
        word.apply_bad(rate, (Tick::ZERO, 0), &RULES, (&roster, room));
        assert_eq!(word.load().standing, Standing::Out);
        word.apply(Event::Retired, Tick::ZERO, &roster);
        assert_eq!((word.load().standing, roster.ejected()), (Standing::In, 0));
    }
    words[0].apply(Event::Retired, Tick::ZERO, &roster);
    assert_eq!(roster.ejected(), 0);
}

proptest! {
    #[test]
    fn a_state_survives_packing(
        standing in prop::sample::select(vec![Standing::In, Standing::Out, Standing::Probing]),
        failures in 0..0x8000u16,
        times in 0..32u8,
        at_ms in 0..1u64 << 40,
    ) {
        let state = State { standing, failures, times, at_ms };
        prop_assert_eq!(State::unpack(state.pack()), state);
    }
}
