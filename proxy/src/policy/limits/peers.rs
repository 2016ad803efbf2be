//! How much of one kind strangers may have at once: TLS handshakes, the dearest thing that they can ask for, and
//! connections to a gateway.
//!
//! Bounded for the process, so that they cannot crowd out requests, and more narrowly for each peer, so that
//! one peer cannot crowd out the others. Peers share [`SLOTS`] counters by a keyed hash: no map that a flood of
//! addresses could grow and no lock; that two peers share one matters only while one of them floods.

use std::{net::IpAddr, sync::Arc};

use crate::random;

use super::{InFlight, Place, gauge::Gauge};

/// Handshakes under way in this process. A core does some thousands a second and each takes a millisecond or two
/// of it: this many at once only wait for slow or silent peers.
pub const HANDSHAKES_MAX: u32 = 1_024;

/// Of one peer: an IPv4 address or an IPv6 /64. A sidecar dials once per worker and port; 128 is a machine full of
/// sidecars that all start at once.
pub const HANDSHAKES_PER_PEER_MAX: u32 = 128;

const SLOTS: usize = 4_096;

/// Connections from outside of one peer, for each worker: a quarter of what a worker has room for, so that four have to
/// conspire. Balancers that hide their callers' addresses come as few peers; whoever has one names it (`--trusted-hops`).
pub const OUTSIDERS_PER_PEER_MAX: u32 = 2_048;

/// See the module.
#[derive(Debug)]
pub struct Peers {
    all: Arc<InFlight>,
    all_max: u32,
    peers: Box<[Gauge]>,
    per_peer_max: u32,
    seed: u64,
}

/// A peer's place; dropping gives it back.
#[derive(Debug)]
#[must_use = "dropping gives the place back"]
pub struct PeerPlace {
    of: Arc<Peers>,
    slot: usize,
    _place: Place,
}

impl Peers {
    /// TLS handshakes. `seed` keeps strangers from knowing which peers share a counter.
    pub fn handshakes(seed: u64) -> Self {
        Self::new(seed, HANDSHAKES_MAX, HANDSHAKES_PER_PEER_MAX)
    }

    /// Connections from outside to so many workers; all together are bounded where they are accepted.
    pub fn outsiders(seed: u64, workers: u32) -> Self {
        Self::new(
            seed,
            u32::MAX,
            OUTSIDERS_PER_PEER_MAX.saturating_mul(workers),
        )
    }

    fn new(seed: u64, all_max: u32, per_peer_max: u32) -> Self {
        Self {
            all: Arc::default(),
            all_max,
            peers: (0..SLOTS).map(|_| Gauge::new()).collect(),
            per_peer_max,
            seed,
        }
    }

    /// One more of `peer`; `None`: too many are there.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<PeerPlace> {
        let slot = random::index(random::split(self.seed ^ number(peer)).0, SLOTS);
        let gauge = self.peers.get(slot)?;
        if !gauge.enter(self.per_peer_max) {
            return None;
        }
        let Some(place) = self.all.enter(self.all_max) else {
            gauge.leave();
            return None;
        };
        Some(PeerPlace {
            of: self.clone(),
            slot,
            _place: place,
        })
    }

    /// How many are there.
    pub fn count(&self) -> u32 {
        self.all.count()
    }
}

/// What counts as one peer. Whoever has an IPv6 address usually has all of its /64.
fn number(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d]
                .into_iter()
                .fold(0, |number, segment| number << 16 | u64::from(segment))
        }
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        if let Some(gauge) = self.of.peers.get(self.slot) {
            gauge.leave();
        }
    }
}
