//! Nobody is sent away without need, the line is bounded, and a whole mesh that comes at once gets in.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    places: 4,
    wait_max: Duration::from_millis(20),
    away_max: Duration::from_secs(60),
};

#[test]
fn whoever_finds_a_place_begins_then_a_line_forms_then_moments_are_given() {
    let (mut admission, now) = (Admission::new(BOUNDS), Instant::now());
    let mut come = || admission.comes(now, 0.5);
    for _ in 0..4 {
        assert_eq!(come(), Decision::Begins);
    }
    for _ in 0..10 {
        assert_eq!(come(), Decision::Waits, "ten steps of 2 ms are 20 ms");
    }
    for step in 1..5 {
        let after = Duration::from_millis(10) + PACE_FIRST * step;
        assert_eq!(come(), Decision::ComesAgain { after });
    }
    assert_eq!(admission.waiting(), 10);
    admission.leaves(now);
    assert_eq!(admission.waiting(), 9);
    assert_eq!(admission.comes(now, 0.5), Decision::Waits);
}

#[test]
fn nobody_is_told_to_stay_away_longer_than_may_be() {
    let (mut admission, now) = (Admission::new(BOUNDS), Instant::now());
    for _ in 0..100_000 {
        if let Decision::ComesAgain { after } = admission.comes(now, 1.0) {
            assert!(after <= BOUNDS.away_max.mul_f64(1.0 + JITTER), "{after:?}");
        }
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Comes(f64),
    Leaves,
    GivesUp,
    Passes(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0.0..1.0).prop_map(Step::Comes),
        3 => Just(Step::Leaves),
        1 => Just(Step::GivesUp),
        2 => any::<u16>().prop_map(Step::Passes),
    ]
}

/// Numbers from 0 to 1, by splitmix64.
fn chances(mut seed: u64) -> impl FnMut() -> f64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from(mixed >> 32).expect("32 bits")) / f64::from(u32::MAX)
    }
}

/// A mesh that comes at once, whose snapshots take `each` (µs) on one core, and which comes again when told to: how often
/// anybody was sent away, the longest wait in line, and when the last one was done.
fn storm(sidecars: usize, each: u64, seed: u64) -> (u32, Duration, Duration) {
    let bounds = Bounds {
        places: 64,
        wait_max: Duration::from_secs(2),
        away_max: Duration::from_secs(10),
    };
    let (mut admission, start) = (Admission::new(bounds), Instant::now());
    let mut chance = chances(seed);
    let each = Duration::from_micros(each);
    // Who comes, when, and for the how manieth time.
    let mut coming: BinaryHeap<Reverse<(Instant, usize, u32)>> =
        (0..sidecars).map(|one| Reverse((start, one, 1))).collect();
    let mut line: VecDeque<Instant> = VecDeque::new();
    let (mut inside, mut free_at, mut leaving) = (0, start, VecDeque::new());
    let (mut turned_away, mut waited, mut done) = (0, Duration::ZERO, start);
    let begin = |now: Instant, free_at: &mut Instant, leaving: &mut VecDeque<Instant>| {
        *free_at = now.max(*free_at) + each;
        leaving.push_back(*free_at);
    };
    while !coming.is_empty() || !leaving.is_empty() {
        let next_comes = coming.peek().map(|Reverse((at, _, _))| *at);
        let next_leaves = leaving.front().copied();
        if next_leaves.is_some_and(|leaves| next_comes.is_none_or(|comes| leaves <= comes)) {
            let now = leaving.pop_front().expect("some");
            admission.leaves(now);
            done = now;
            match line.pop_front() {
                Some(since) => {
                    waited = waited.max(now - since);
                    begin(now, &mut free_at, &mut leaving);
                }
                None => inside -= 1,
            }
            continue;
        }
        let Some(Reverse((now, one, times))) = coming.pop() else {
            break;
        };
        match admission.comes(now, chance()) {
            Decision::Begins => {
                inside += 1;
                begin(now, &mut free_at, &mut leaving);
            }
            Decision::Waits => line.push_back(now),
            Decision::ComesAgain { after } => {
                turned_away = turned_away.max(times);
                coming.push(Reverse((now + after, one, times + 1)));
            }
        }
        assert!(inside <= bounds.places);
        assert_eq!(admission.waiting(), line.len());
    }
    (turned_away, waited, done - start)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_of_events_places_are_filled_first_and_the_line_is_bounded(
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut admission = Admission::new(BOUNDS);
        let mut now = Instant::now();
        let mut here = 0_usize;
        for step in steps {
            match step {
                Step::Comes(chance) => match admission.comes(now, chance) {
                    Decision::Begins => {
                        prop_assert!(here < BOUNDS.places);
                        here += 1;
                    }
                    Decision::Waits => {
                        prop_assert!(here >= BOUNDS.places);
                        here += 1;
                        prop_assert!(admission.steps(admission.waiting()) <= BOUNDS.wait_max);
                    }
                    Decision::ComesAgain { after } => {
                        prop_assert!(here >= BOUNDS.places, "there was a place");
                        prop_assert!(after > Duration::ZERO);
                        prop_assert!(after <= BOUNDS.away_max.mul_f64(1.0 + JITTER));
                    }
                },
                Step::Leaves => {
                    admission.leaves(now);
                    here = here.saturating_sub(1);
                }
                Step::GivesUp if admission.waiting() > 0 => {
                    admission.gives_up();
                    here -= 1;
                }
                Step::GivesUp => {}
                Step::Passes(millis) => now += Duration::from_millis(millis.into()),
            }
            prop_assert_eq!(admission.waiting(), here.saturating_sub(BOUNDS.places));
            prop_assert!((PACE_MIN..=PACE_MAX).contains(&admission.pace));
        }
    }

    #[test]
    fn a_whole_mesh_that_comes_at_once_is_in_about_as_soon_as_the_work_is_done(
        sidecars in 1_usize..6_000,
        each in 200_u64..4_000,
        seed in any::<u64>(),
    ) {
        let (turned_away, waited, took) = storm(sidecars, each, seed);
        // Before anything was measured, a pace is assumed.
        let step = Duration::from_micros(each).max(PACE_FIRST);
        let work = step * u32::try_from(sidecars).expect("few");
        prop_assert!(took <= work.mul_f64(1.5) + Duration::from_secs(2), "{took:?} for {work:?} of work");
        prop_assert!(waited <= Duration::from_secs(6), "{waited:?} in line");
        prop_assert!(turned_away <= 12, "sent away {turned_away} times");
    }
}
