//! The endpoints that one service port may use, with everything precomputed that a choice needs.

use std::sync::Arc;

use usher_config::model::Algorithm;

use crate::{
    atomic::{AtomicU32, Ordering},
    random,
};

use super::EndpointState;

/// One endpoint of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Shared with other groups and snapshots.
    pub state: Arc<EndpointState>,
    /// Its share; 0 takes no traffic.
    pub weight: u32,
    /// Its own sidecar's verdict. Unhealthy ones get nothing.
    pub healthy: bool,
}

/// What to choose from. Made when a snapshot is applied.
#[derive(Debug)]
pub struct Group {
    members: Box<[Member]>,
    /// Positions of those that may be chosen.
    eligible: Box<[u32]>,
    /// Running sums of their weights; empty if all weigh the same.
    sums: Box<[u64]>,
    total: u64,
    pub(super) algorithm: Algorithm,
    /// `perEndpoint.maxConcurrentRequests`.
    pub(super) per_endpoint: Option<u32>,
    /// The policy has an `ejection`: without one, an ejection that an earlier policy made is ignored.
    pub(super) ejects: bool,
    cursor: AtomicU32,
}

impl Group {
    /// Positions in `members` are what [`super::Pick`] names.
    pub fn new(members: Vec<Member>, algorithm: Algorithm, per_endpoint: Option<u32>) -> Self {
        let may = |member: &Member| member.healthy && member.weight > 0;
        let chosen = || members.iter().zip(0u32..).filter(|(member, _)| may(member));
        let eligible: Box<[u32]> = chosen().map(|(_, position)| position).collect();
        let sums: Box<[u64]> = chosen()
            .scan(0, |sum, (member, _)| {
                *sum += u64::from(member.weight);
                Some(*sum)
            })
            .collect();
        let mut weights = chosen().map(|(member, _)| member.weight);
        let first = weights.next();
        let uniform = weights.all(|weight| Some(weight) == first);
        let total = sums.last().copied().unwrap_or(0);
        Self {
            eligible,
            sums: if uniform { Box::default() } else { sums },
            total,
            members: members.into(),
            algorithm,
            per_endpoint,
            ejects: true,
            cursor: AtomicU32::new(0),
        }
    }

    /// The policy has no `ejection`: use every healthy endpoint.
    #[must_use]
    pub fn without_ejection(self) -> Self {
        Self {
            ejects: false,
            ..self
        }
    }

    /// In the order given.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many may be chosen (healthy, weight above 0), ejected or not.
    pub fn eligible(&self) -> usize {
        self.eligible.len()
    }

    /// The n-th that may be chosen.
    pub(super) fn nth(&self, n: usize) -> Option<(usize, &Member)> {
        let position = usize::try_from(*self.eligible.get(n)?).ok()?;
        Some((position, self.members.get(position)?))
    }

    /// A random one, by weight; as index for [`Self::nth`].
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
