//! The choice itself.
//!
//! Power of two choices: two at random, the better one. It needs no global order, keeps no queue, and comes
//! exponentially closer to the best than one random pick (Mitzenmacher 2001). If the two will not do
//! (ejected, avoided, full), everybody is looked at; if all are ejected, all are used: ejection is an
//! opinion, and refusing everybody on an opinion would turn a bad minute into an outage.

use std::sync::Arc;

use usher_config::model::Algorithm;

use crate::{clock::Tick, random};

use super::{Attempt, Group, Member};

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

/// Chooses. `avoid`: positions that earlier attempts of this request used, spared if anybody else will do.
///
/// # Errors
/// Nobody can be used, see [`NoPick`].
pub fn choose(group: &Group, now: Tick, random: u64, avoid: &[usize]) -> Result<Pick, NoPick> {
    if group.eligible() == 0 {
        return Err(NoPick::NoEndpoint);
    }
    let quick = match group.algorithm {
        Algorithm::RoundRobin => next_in_turn(group, now, avoid),
        Algorithm::PeakEwma | Algorithm::LeastRequest => better_of_two(group, now, random, avoid),
    };
    let start = random::index(random, group.eligible());
    quick
        .or_else(|| best_of_all(group, now, start, |position| !avoid.contains(&position)))
        .or_else(|| best_of_all(group, now, start, |_| true))
        .or_else(|| anybody(group, start))
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

/// A usable member that is not avoided, and how it would be used.
#[derive(Clone, Copy)]
struct Candidate<'g> {
    position: usize,
    member: &'g Member,
    probe: bool,
}

fn candidate<'g>(group: &'g Group, n: usize, now: Tick, avoid: &[usize]) -> Option<Candidate<'g>> {
    let (position, member) = group.nth(n)?;
    if avoid.contains(&position) || is_full(group, member) {
        return None;
    }
    let usable = !group.ejects || member.state.is_in();
    let probe = !usable && member.state.claim_probe(now);
    (usable || probe).then_some(Candidate {
        position,
        member,
        probe,
    })
}

fn is_full(group: &Group, member: &Member) -> bool {
    group
        .per_endpoint
        .is_some_and(|most| member.state.in_flight() >= most)
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

fn next_in_turn(group: &Group, now: Tick, avoid: &[usize]) -> Option<Pick> {
    // A few turns: with most endpoints out, looking at all of them is cheaper than turning on.
    (0..3).find_map(|_| candidate(group, group.turn(), now, avoid)?.take(group))
}

fn better_of_two(group: &Group, now: Tick, random: u64, avoid: &[usize]) -> Option<Pick> {
    let (one, two) = random::split(random);
    let first = group.sample(one);
    let second = match group.eligible() {
        1 => return candidate(group, first, now, avoid)?.take(group),
        2 => 1 - first.min(1),
        many => match group.sample(two) {
            same if same == first => (same + 1) % many,
            other => other,
        },
    };
    let first = candidate(group, first, now, avoid);
    // A probe is due and claimed: it decides nothing by cost.
    if let Some(probe) = first.filter(|candidate| candidate.probe) {
        return probe.take(group);
    }
    let second = candidate(group, second, now, avoid);
    match (first, second) {
        (_, Some(second)) if second.probe => second.take(group),
        (Some(first), Some(second)) => {
            // Ties go to the first, which was drawn by weight.
            let swap = cost(group, second.member, now) < cost(group, first.member, now);
            let (better, worse) = if swap {
                (second, first)
            } else {
                (first, second)
            };
            better.take(group).or_else(|| worse.take(group))
        }
        (one, other) => one.or(other)?.take(group),
    }
}

/// The expected wait: one's own answer behind those under way, shared by what the endpoint can carry.
fn cost(group: &Group, member: &Member, now: Tick) -> f32 {
    let load = member.state.in_flight() as f32 / group.relative_weight(member) + 1.0;
    match group.algorithm {
        Algorithm::PeakEwma => member.state.cost(now) * load,
        Algorithm::LeastRequest | Algorithm::RoundRobin => load,
    }
}

/// Linear, and only when chance found nobody. Starts anywhere, so that ties spread.
fn best_of_all(
    group: &Group,
    now: Tick,
    start: usize,
    wanted: impl Fn(usize) -> bool,
) -> Option<Pick> {
    let mut best: Option<(f32, Candidate<'_>)> = None;
    for n in (0..group.eligible()).map(|step| (start + step) % group.eligible()) {
        let Some((position, member)) = group.nth(n) else {
            continue;
        };
        if !wanted(position) || is_full(group, member) {
            continue;
        }
        if group.ejects && !member.state.is_in() {
            if member.state.claim_probe(now) {
                return Candidate {
                    position,
                    member,
                    probe: true,
                }
                .take(group);
            }
            continue;
        }
        let cost = cost(group, member, now);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((
                cost,
                Candidate {
                    position,
                    member,
                    probe: false,
                },
            ));
        }
    }
    best?.1.take(group)
}

/// All are ejected: panic. If only some are and the others are full, that is the limit's case, not ours.
fn anybody(group: &Group, start: usize) -> Option<Pick> {
    let count = group.eligible();
    let in_use = |n| group.nth(n).is_some_and(|(_, member)| member.state.is_in());
    if !group.ejects || (0..count).any(in_use) {
        return None;
    }
    (0..count).find_map(|step| {
        let (position, member) = group.nth((start + step) % count)?;
        let pick = Candidate {
            position,
            member,
            probe: false,
        }
        .take(group)?;
        Some(Pick {
            panic: true,
            ..pick
        })
    })
}
