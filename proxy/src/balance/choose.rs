//! The choice itself.
//!
//! Power of two choices: two at random, the better one. It needs no global order, keeps no queue, and comes
//! exponentially closer to the best than one random pick (Mitzenmacher 2001). If the two will not do
//! (ejected, avoided, full), everybody in their zone is looked at, then the next zone; if all are ejected, all are
//! used: ejection is an opinion, and refusing everybody on an opinion would turn a bad minute into an outage.

use std::sync::Arc;

use usher_config::model::Algorithm;

use crate::{clock::Tick, random};

use super::{Attempt, Group, Member, group::Tier, slow_start};

/// The chosen one.
#[derive(Debug)]
pub struct Pick {
    /// Position in the group's members.
    pub position: usize,
    /// Its load is counted from here on.
    pub attempt: Attempt,
    /// It is ejected, but so are all.
    pub panic: bool,
}

/// Why nobody was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPick {
    /// None, or all failing their own health check: `UH`, a case for fallback.
    NoEndpoint,
    /// All that may be used are at `perEndpoint.maxConcurrentRequests`: `UO`.
    AllFull,
}

/// Chooses. `chance` is a random number, or the hash of what the request is kept together by. `avoid`: positions that
/// earlier attempts of this request used, spared if anybody else will do.
///
/// # Errors
/// Nobody can be used, see [`NoPick`].
pub fn choose(group: &Group, now: Tick, chance: u64, avoid: &[usize]) -> Result<Pick, NoPick> {
    if group.tiers().is_empty() {
        return Err(NoPick::NoEndpoint);
    }
    let choices = || {
        group.tiers().iter().map(|tier| Choice {
            group,
            tier,
            now,
            chance,
        })
    };
    let spared = |position: usize| avoid.contains(&position);
    let quick = |choice: Choice<'_>| {
        let quick = match group.algorithm {
            Algorithm::RoundRobin => choice.next_in_turn(avoid),
            Algorithm::RingHash => choice.next_on_ring(avoid),
            Algorithm::PeakEwma | Algorithm::LeastRequest => choice.better_of_two(avoid),
        };
        quick.or_else(|| choice.best_of_all(|position| !spared(position)))
    };
    choices()
        .skip(1)
        .filter(|_| group.ejects && chance.is_multiple_of(PROBED_AFAR))
        .find_map(|choice| choice.due_probe(avoid))
        .or_else(|| choices().find_map(quick))
        .or_else(|| choices().find_map(|choice| choice.best_of_all(|_| true)))
        .or_else(|| anybody(group, choices()))
        .ok_or(NoPick::AllFull)
}

/// Takes the member that its caller chose, by dialling its address: ejection and health are reasons to choose
/// somebody else, and nobody else was meant.
///
/// # Errors
/// It does not serve this port, or is at its limit.
pub fn exactly(group: &Group, position: usize) -> Result<Pick, NoPick> {
    let member = group.members().get(position);
    let member = member
        .filter(|member| member.weight > 0)
        .ok_or(NoPick::NoEndpoint)?;
    let meant = Candidate {
        position,
        member,
        probe: false,
    };
    meant.take(group).ok_or(NoPick::AllFull)
}

/// One choice within one zone.
#[derive(Clone, Copy)]
struct Choice<'g> {
    group: &'g Group,
    tier: &'g Tier,
    now: Tick,
    chance: u64,
}

/// A usable member that is not avoided, and how it would be used.
#[derive(Clone, Copy)]
struct Candidate<'g> {
    position: usize,
    member: &'g Member,
    probe: bool,
}

/// How many points of a ring are tried before everybody is looked at: with half of the endpoints out, that many in a
/// row are never all out.
const RING_STEPS: usize = 32;

/// One choice in so many looks for endpoints that were ejected while their zone was in use and would not be asked any
/// more: they would keep their places among the ejected for as long as nearer zones are well.
const PROBED_AFAR: u64 = 64;

/// How many endpoints of such a zone are looked at.
const LOOKED_AT_AFAR: usize = 32;

impl<'g> Choice<'g> {
    /// An ejected endpoint whose time is over, beginning anywhere.
    fn due_probe(&self, avoid: &[usize]) -> Option<Pick> {
        let count = self.tier.len();
        let start = random::index(random::split(self.chance).1, count);
        let mut some = (0..count.min(LOOKED_AT_AFAR)).map(|step| (start + step) % count);
        some.find_map(|n| {
            let (_, member) = self.group.nth(self.tier, n)?;
            if member.state.is_in() {
                return None;
            }
            self.candidate(n, avoid)?.take(self.group)
        })
    }

    fn candidate(&self, n: usize, avoid: &[usize]) -> Option<Candidate<'g>> {
        let (position, member) = self.group.nth(self.tier, n)?;
        if avoid.contains(&position) || self.is_full(member) {
            return None;
        }
        let usable = !self.group.ejects || member.state.is_in();
        let probe = !usable && member.state.claim_probe(self.now);
        (usable || probe).then_some(Candidate {
            position,
            member,
            probe,
        })
    }

    fn is_full(&self, member: &Member) -> bool {
        self.group
            .per_endpoint
            .is_some_and(|most| member.state.in_flight() >= most)
    }

    /// Whether it is too new for this turn. A probe is not: it decides.
    fn too_new(&self, candidate: &Candidate<'_>, luck: u64) -> bool {
        let Some(slow) = &self.group.slow_start else {
            return false;
        };
        let age = candidate.member.state.in_use_for(self.now);
        !candidate.probe && age.is_some_and(|age| !slow_start::takes_turn(slow, age, luck))
    }

    fn next_in_turn(&self, avoid: &[usize]) -> Option<Pick> {
        let mut new = None;
        // A few turns: with most endpoints out, looking at all of them is cheaper than turning on.
        for turn in 0..3 {
            let Some(candidate) = self.candidate(self.tier.turn(), avoid) else {
                continue;
            };
            if self.too_new(&candidate, random::split(self.chance ^ turn).0) {
                new = Some(candidate);
            } else if let Some(pick) = candidate.take(self.group) {
                return Some(pick);
            }
        }
        new?.take(self.group)
    }

    fn next_on_ring(&self, avoid: &[usize]) -> Option<Pick> {
        let mut points = self.tier.ring.from(self.chance).take(RING_STEPS);
        points.find_map(|n| self.candidate(n, avoid)?.take(self.group))
    }

    fn better_of_two(&self, avoid: &[usize]) -> Option<Pick> {
        let (one, two) = random::split(self.chance);
        let first = self.tier.sample(one);
        let second = match self.tier.len() {
            1 => return self.candidate(first, avoid)?.take(self.group),
            2 => 1 - first.min(1),
            many => match self.tier.sample(two) {
                same if same == first => (same + 1) % many,
                other => other,
            },
        };
        let first = self.candidate(first, avoid);
        // A probe is due and claimed: it decides nothing by cost.
        if let Some(probe) = first.filter(|candidate| candidate.probe) {
            return probe.take(self.group);
        }
        let second = self.candidate(second, avoid);
        match (first, second) {
            (_, Some(second)) if second.probe => second.take(self.group),
            (Some(first), Some(second)) => {
                let (better, worse) = self.in_order(first, second);
                better.take(self.group).or_else(|| worse.take(self.group))
            }
            (one, other) => one.or(other)?.take(self.group),
        }
    }

    /// The better one first. Ties go to `first`, which was drawn by weight.
    fn in_order(
        &self,
        first: Candidate<'g>,
        second: Candidate<'g>,
    ) -> (Candidate<'g>, Candidate<'g>) {
        let (one, two) = random::split(!self.chance);
        let swap = match (self.too_new(&first, one), self.too_new(&second, two)) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => self.cost(second.member) < self.cost(first.member),
        };
        if swap {
            (second, first)
        } else {
            (first, second)
        }
    }

    /// The expected wait: one's own answer behind those under way, shared by what the endpoint can carry.
    fn cost(&self, member: &Member) -> f32 {
        let load = member.state.in_flight() as f32 / self.tier.relative_weight(member) + 1.0;
        match self.group.algorithm {
            Algorithm::PeakEwma => member.state.cost(self.now) * load,
            Algorithm::LeastRequest | Algorithm::RoundRobin | Algorithm::RingHash => load,
        }
    }

    /// Everybody, beginning anywhere, so that ties spread.
    fn everybody(&self) -> impl Iterator<Item = (usize, &'g Member)> + use<'g> {
        let (group, tier, count) = (self.group, self.tier, self.tier.len());
        let start = random::index(self.chance, count);
        (0..count).filter_map(move |step| group.nth(tier, (start + step) % count))
    }

    /// Linear, and only when chance found nobody.
    fn best_of_all(&self, wanted: impl Fn(usize) -> bool) -> Option<Pick> {
        let mut best: Option<(f32, Candidate<'_>)> = None;
        for (position, member) in self.everybody() {
            if !wanted(position) || self.is_full(member) {
                continue;
            }
            let candidate = |probe| Candidate {
                position,
                member,
                probe,
            };
            if self.group.ejects && !member.state.is_in() {
                if member.state.claim_probe(self.now) {
                    return candidate(true).take(self.group);
                }
                continue;
            }
            let cost = self.cost(member);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, candidate(false)));
            }
        }
        best?.1.take(self.group)
    }
}

impl Candidate<'_> {
    fn take(self, group: &Group) -> Option<Pick> {
        if !self.member.state.enter(group.per_endpoint) {
            if self.probe {
                self.member.state.cancel_probe();
            }
            return None;
        }
        let attempt = Attempt::new(Arc::clone(&self.member.state), self.probe);
        Some(Pick {
            position: self.position,
            attempt,
            panic: false,
        })
    }
}

/// All are ejected: panic. If only some are and the others are full, that is the limit's case, not ours.
fn anybody<'g>(
    group: &'g Group,
    choices: impl Iterator<Item = Choice<'g>> + Clone,
) -> Option<Pick> {
    let mut all = choices.clone().flat_map(|choice| choice.everybody());
    if !group.ejects || all.any(|(_, member)| member.state.is_in()) {
        return None;
    }
    let mut all = choices.flat_map(|choice| choice.everybody());
    all.find_map(|(position, member)| {
        let probe = false;
        let candidate = Candidate {
            position,
            member,
            probe,
        };
        Some(Pick {
            panic: true,
            ..candidate.take(group)?
        })
    })
}
