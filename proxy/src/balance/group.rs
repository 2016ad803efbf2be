//! The endpoints that one service port may use, with everything precomputed that a choice needs.

use std::{collections::BTreeMap, sync::Arc};

use usher_config::model::{Algorithm, LoadBalancer, SlowStart};

use crate::{
    atomic::{AtomicU32, Ordering},
    random,
};

use super::{EndpointState, ring::Ring};

/// One endpoint of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Shared with other groups and snapshots.
    pub state: Arc<EndpointState>,
    /// Its share; 0 takes no traffic.
    pub weight: u32,
    /// Its own sidecar's verdict. Unhealthy ones get nothing.
    pub healthy: bool,
    /// Its zone's place in the order of preference.
    pub rank: u32,
    /// The hash of its name.
    pub key: u64,
}

/// How a group chooses.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Of the policy.
    pub balancer: &'a LoadBalancer,
    /// `perEndpoint.maxConcurrentRequests`.
    pub per_endpoint: Option<u32>,
    /// The policy has an `ejection`: without one, an ejection that an earlier policy made is ignored.
    pub ejects: bool,
}

/// What to choose from. Made when a snapshot is applied.
#[derive(Debug)]
pub struct Group {
    members: Box<[Member]>,
    /// In the order in which they are asked. None is empty.
    tiers: Box<[Tier]>,
    pub(super) algorithm: Algorithm,
    pub(super) slow_start: Option<SlowStart>,
    pub(super) per_endpoint: Option<u32>,
    pub(super) ejects: bool,
}

/// Members of one rank that may be chosen.
#[derive(Debug)]
pub(super) struct Tier {
    /// Their positions.
    eligible: Box<[u32]>,
    /// Running sums of their weights; empty if all weigh the same.
    sums: Box<[u64]>,
    total: u64,
    /// For ring hash; else empty.
    pub(super) ring: Ring,
    cursor: AtomicU32,
}

impl Group {
    /// Positions in `members` are what [`super::Pick`] names.
    pub fn new(members: Vec<Member>, rules: Rules<'_>) -> Self {
        let balancer = rules.balancer;
        let mut ranks: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (member, position) in members.iter().zip(0..) {
            if member.weight > 0 {
                ranks.entry(member.rank).or_default().push(position);
            }
        }
        let min_ready = balancer
            .zones
            .as_ref()
            .map_or(0, |zones| zones.min_ready.get());
        let mut tiers: Vec<(bool, Tier)> = ranks
            .into_values()
            .filter_map(|positions| Tier::new(&members, &positions, balancer.algorithm, min_ready))
            .collect();
        // A stable sort: among those that are well enough, and among those that are not, preference stays.
        tiers.sort_by_key(|(is_well, _)| !is_well);
        Self {
            tiers: tiers.into_iter().map(|(_, tier)| tier).collect(),
            members: members.into(),
            algorithm: balancer.algorithm,
            slow_start: balancer.slow_start,
            per_endpoint: rules.per_endpoint,
            ejects: rules.ejects,
        }
    }

    /// In the order given.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many may be chosen (healthy, weight above 0), ejected or not.
    pub fn eligible(&self) -> usize {
        self.tiers.iter().map(Tier::len).sum()
    }

    pub(super) fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The n-th of a tier that may be chosen.
    pub(super) fn nth(&self, tier: &Tier, n: usize) -> Option<(usize, &Member)> {
        let position = usize::try_from(*tier.eligible.get(n)?).ok()?;
        Some((position, self.members.get(position)?))
    }
}

impl Tier {
    /// And whether enough of it is well; `None`: nothing is.
    fn new(
        members: &[Member],
        positions: &[u32],
        algorithm: Algorithm,
        min_ready: u8,
    ) -> Option<(bool, Self)> {
        let at = |position: &u32| members.get(usize::try_from(*position).ok()?);
        let is_well = |position: &&u32| at(position).is_some_and(|member| member.healthy);
        let eligible: Box<[u32]> = positions.iter().filter(is_well).copied().collect();
        let chosen = || eligible.iter().filter_map(at);
        let sums: Box<[u64]> = chosen()
            .scan(0, |sum, member| {
                *sum += u64::from(member.weight);
                Some(*sum)
            })
            .collect();
        let mut weights = chosen().map(|member| member.weight);
        let first = weights.next()?;
        let uniform = weights.all(|weight| weight == first);
        let total = sums.last().copied().unwrap_or(0);
        let ring = match algorithm {
            Algorithm::RingHash => Ring::new(chosen().map(|member| (member.key, member.weight))),
            Algorithm::PeakEwma | Algorithm::LeastRequest | Algorithm::RoundRobin => {
                Ring::default()
            }
        };
        let is_well = eligible.len() * 100 >= positions.len() * usize::from(min_ready);
        let tier = Self {
            sums: if uniform { Box::default() } else { sums },
            eligible,
            total,
            ring,
            cursor: AtomicU32::new(0),
        };
        Some((is_well, tier))
    }

    /// How many may be chosen; at least one.
    pub(super) fn len(&self) -> usize {
        self.eligible.len()
    }

    /// A random one, by weight; as index for [`Group::nth`].
    pub(super) fn sample(&self, luck: u64) -> usize {
        if self.sums.is_empty() {
            random::index(luck, self.eligible.len())
        } else {
            let point = random::below(luck, self.total);
            self.sums.partition_point(|sum| *sum <= point)
        }
    }

    /// How heavy a member is relative to the average; 1 when all are alike.
    pub(super) fn relative_weight(&self, member: &Member) -> f32 {
        if self.sums.is_empty() {
            1.0
        } else {
            member.weight as f32 * self.eligible.len() as f32 / self.total as f32
        }
    }

    /// The next turn of the round.
    ///
    /// With weights, turns step through the weights' sum by the golden ratio: any run of turns holds each
    /// endpoint close to its share (Weyl sequence: lowest discrepancy), with no schedule to store.
    pub(super) fn turn(&self) -> usize {
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        if self.sums.is_empty() {
            usize::try_from(turn).unwrap_or(0) % self.eligible.len().max(1)
        } else {
            self.sample(u64::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        }
    }
}
