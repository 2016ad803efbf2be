//! An endpoint's standing and its service's roster under concurrent failures and probes.

#[path = "../../src/balance/ejection/roster.rs"]
mod roster;
#[path = "../../src/balance/ejection/state.rs"]
mod state;
#[path = "../../src/balance/ejection/word.rs"]
mod word;

use std::time::Duration;

use loom::{sync::Arc, thread};

use super::{clock::Tick, explore};
use roster::Roster;
use state::{Event, Rules, Standing};
use word::{Room, Word};

const RULES: Rules = Rules {
    consecutive_failures: 1,
    base: Duration::from_secs(5),
    max: Duration::from_secs(300),
};
const HALF: Room = Room {
    percent: 50,
    min_ready: 1,
};
const LATER: Tick = Tick::from_millis(60_000);

fn fail(word: &Word, roster: &Roster) {
    word.apply_bad(Event::Failed, (Tick::ZERO, 1), &RULES, (roster, HALF));
}

fn pair() -> Arc<(Roster, Word, Word)> {
    let roster = Roster::new();
    roster.resize(2);
    Arc::new((roster, Word::new(), Word::new()))
}

#[test]
fn two_failing_endpoints_never_go_out_together() {
    explore(|| {
        let shared = pair();
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || fail(&shared.1, &shared.0))
        };
        fail(&shared.2, &shared.0);
        other.join().unwrap();
        let out = [&shared.1, &shared.2].map(|word| word.load().standing == Standing::Out);
        assert_eq!(out.iter().filter(|out| **out).count(), 1);
        assert_eq!(shared.0.ejected(), 1);
    });
}

#[test]
fn two_failures_of_one_endpoint_take_one_place() {
    explore(|| {
        let shared = pair();
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || fail(&shared.1, &shared.0))
        };
        fail(&shared.1, &shared.0);
        other.join().unwrap();
        assert_eq!(shared.1.load().standing, Standing::Out);
        assert_eq!(shared.0.ejected(), 1);
    });
}

#[test]
fn one_of_two_askers_probes() {
    explore(|| {
        let shared = pair();
        fail(&shared.1, &shared.0);
        let ask = |shared: Arc<(Roster, Word, Word)>| {
            move || {
                let moved = shared.1.apply(Event::Ask, LATER, &shared.0);
                moved.before != moved.after
            }
        };
        let other = thread::spawn(ask(Arc::clone(&shared)));
        let here = ask(Arc::clone(&shared))();
        assert!(here ^ other.join().unwrap());
    });
}

#[test]
fn an_endpoint_returns_once_and_frees_its_place_once() {
    explore(|| {
        let shared = pair();
        fail(&shared.1, &shared.0);
        shared.1.apply(Event::Ask, LATER, &shared.0);
        let succeed = |shared: Arc<(Roster, Word, Word)>| {
            move || {
                shared
                    .1
                    .apply(Event::ProbeSucceeded, LATER, &shared.0)
                    .returned()
            }
        };
        let other = thread::spawn(succeed(Arc::clone(&shared)));
        let here = succeed(Arc::clone(&shared))();
        assert!(here ^ other.join().unwrap());
        assert_eq!(shared.0.ejected(), 0);
    });
}
