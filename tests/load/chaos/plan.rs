//! What is broken next, and what is mended. Pure: a seed and a state are all it knows, so a run can be done again.

use std::{fmt, time::Duration};

use fastrand::Rng;
use usher_tests::Link;

/// Control planes, and members of the etcd.
pub(super) const EACH: usize = 3;

/// After so many steps everything is mended, and looked at; half way there etcd and one control plane.
pub(super) const LOOK_EVERY: u64 = 10;

const HALF: u64 = LOOK_EVERY / 2;

/// One step of so many asks for another root, shortly before a look: all sidecars then take new certificates, which lasts as
/// long as many steps.
const ROTATE_EVERY: u64 = 50;
const ROTATE_AT: u64 = 42;

/// How long a step lasts until the next one, milliseconds: from less than a retry to more than an election. Now and then
/// one lasts longer than a lease.
const SHORT: std::ops::Range<u64> = 100..3_000;
const LONG: std::ops::Range<u64> = 3_000..20_000;

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Life {
    #[default]
    Runs,
    /// SIGSTOP: it takes connections, and does nothing.
    Frozen,
    Dead,
}

/// A control plane and its ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PlaneState {
    pub(super) life: Life,
    /// To etcd.
    pub(super) store: Link,
    /// From sidecars.
    pub(super) sidecars: Link,
}

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) planes: [PlaneState; EACH],
    pub(super) members: [Life; EACH],
}

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// SIGKILL.
    KillPlane(usize),
    /// SIGTERM: it says goodbye.
    StopPlane(usize),
    FreezePlane(usize),
    /// Started, or no longer frozen.
    RunPlane(usize),
    Store(usize, Link),
    Sidecars(usize, Link),
    KillMember(usize),
    FreezeMember(usize),
    RunMember(usize),
    /// Another root is asked for; it signs at the next look at the latest.
    Rotate(usize),
    /// All of etcd, and this control plane, whatever is with the others.
    MendOne(usize),
    /// All of it.
    Mend,
}

/// What is done, and how long it is left so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) act: Act,
    pub(super) pause: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for {} ms", self.act, self.pause.as_millis())
    }
}

impl Step {
    /// The step of this number, counted from 1.
    pub(super) fn next(rng: &mut Rng, state: &State, number: u64) -> Self {
        let millis = match rng.u8(..12) {
            0 => rng.u64(LONG),
            _ => rng.u64(SHORT),
        };
        let act = match number % LOOK_EVERY {
            0 => Act::Mend,
            HALF => Act::MendOne(rng.usize(..EACH)),
            _ if number % ROTATE_EVERY == ROTATE_AT => Act::Rotate(rng.usize(..EACH)),
            _ => act(rng, state),
        };
        let pause = Duration::from_millis(millis);
        Self { act, pause }
    }
}

/// The more is broken, the likelier something is mended: about two things are broken at a time, sometimes all.
fn act(rng: &mut Rng, state: &State) -> Act {
    let (mends, breaks) = (mends(state), breaks(state));
    let is_mend = rng.usize(..mends.len() + 2) >= 2;
    let acts = match is_mend || breaks.is_empty() {
        true => mends,
        false => breaks,
    };
    acts.get(rng.usize(..acts.len().max(1)))
        .copied()
        .unwrap_or(Act::Mend)
}

fn mends(state: &State) -> Vec<Act> {
    let mut acts = Vec::new();
    for (number, plane) in state.planes.iter().enumerate() {
        if plane.life != Life::Runs {
            acts.push(Act::RunPlane(number));
        }
        if plane.store != Link::Open {
            acts.push(Act::Store(number, Link::Open));
        }
        if plane.sidecars != Link::Open {
            acts.push(Act::Sidecars(number, Link::Open));
        }
    }
    for (number, life) in state.members.iter().enumerate() {
        if *life != Life::Runs {
            acts.push(Act::RunMember(number));
        }
    }
    acts
}

fn breaks(state: &State) -> Vec<Act> {
    let mut acts = Vec::new();
    for (number, plane) in state.planes.iter().enumerate() {
        if plane.life == Life::Runs {
            acts.extend([
                Act::KillPlane(number),
                Act::StopPlane(number),
                Act::FreezePlane(number),
            ]);
        }
        if plane.store == Link::Open {
            acts.extend([Link::Stalled, Link::Cut].map(|link| Act::Store(number, link)));
        }
        if plane.sidecars == Link::Open {
            acts.extend([Link::Stalled, Link::Cut].map(|link| Act::Sidecars(number, link)));
        }
    }
    for (number, life) in state.members.iter().enumerate() {
        if *life == Life::Runs {
            acts.extend([Act::KillMember(number), Act::FreezeMember(number)]);
        }
    }
    acts
}

impl State {
    /// Afterwards.
    pub(super) fn after(mut self, act: Act) -> Self {
        match act {
            Act::KillPlane(number) | Act::StopPlane(number) => self.live(number, Life::Dead),
            Act::FreezePlane(number) => self.live(number, Life::Frozen),
            Act::RunPlane(number) => self.live(number, Life::Runs),
            Act::Store(number, link) => self.plane(number, |plane| plane.store = link),
            Act::Sidecars(number, link) => self.plane(number, |plane| plane.sidecars = link),
            Act::KillMember(number) => self.member(number, Life::Dead),
            Act::FreezeMember(number) => self.member(number, Life::Frozen),
            Act::RunMember(number) => self.member(number, Life::Runs),
            Act::Rotate(_) => {}
            Act::MendOne(number) => {
                self.members = Default::default();
                self.plane(number, |plane| *plane = PlaneState::default());
            }
            Act::Mend => self = Self::default(),
        }
        self
    }

    fn live(&mut self, number: usize, life: Life) {
        self.plane(number, |plane| plane.life = life);
    }

    fn plane(&mut self, number: usize, change: impl FnOnce(&mut PlaneState)) {
        if let Some(plane) = self.planes.get_mut(number) {
            change(plane);
        }
    }

    fn member(&mut self, number: usize, life: Life) {
        if let Some(member) = self.members.get_mut(number) {
            *member = life;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(seed: u64, steps: u64) -> Vec<(Step, State)> {
        let (mut rng, mut state) = (Rng::with_seed(seed), State::default());
        let mut all = Vec::new();
        for number in 1..=steps {
            let step = Step::next(&mut rng, &state, number);
            state = state.after(step.act);
            all.push((step, state));
        }
        all
    }

    #[test]
    fn a_seed_is_one_story() {
        assert_eq!(played(7, 200), played(7, 200));
        assert_ne!(played(7, 200), played(8, 200));
    }

    #[test]
    fn everything_is_broken_at_some_time_and_mended_before_each_look() {
        let story = played(1, 1_000);
        let seen = |what: &dyn Fn(&State) -> bool| story.iter().any(|(_, state)| what(state));
        for number in 0..EACH {
            for life in [Life::Dead, Life::Frozen] {
                assert!(seen(&|state| state.planes[number].life == life));
                assert!(seen(&|state| state.members[number] == life));
            }
            for link in [Link::Stalled, Link::Cut] {
                assert!(seen(&|state| state.planes[number].store == link));
                assert!(seen(&|state| state.planes[number].sidecars == link));
            }
        }
        let rotates = |(step, _): &&(Step, State)| matches!(step.act, Act::Rotate(_));
        assert_eq!(story.iter().filter(rotates).count(), 20);
        let is_lost = |state: &State| {
            let alive = state.members.iter().filter(|life| **life == Life::Runs);
            alive.count() < 2
        };
        assert!(seen(&is_lost), "etcd loses its majority");
        assert!(seen(&|state| state
            .planes
            .iter()
            .all(|plane| plane.life != Life::Runs)));
        let looks = story.chunks(usize::try_from(LOOK_EVERY).expect("small"));
        for look in looks {
            assert_eq!(look.last().expect("some").1, State::default());
        }
    }
}
