//! How many TLS handshakes may be under way: a handshake is the dearest thing that a stranger can ask for.
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

/// See the module.
#[derive(Debug)]
pub struct Handshakes {
    all: Arc<InFlight>,
    peers: Box<[Gauge]>,
    seed: u64,
}

/// A handshake under way; dropping ends it.
#[derive(Debug)]
#[must_use = "dropping gives the place back"]
pub struct Handshake {
    of: Arc<Handshakes>,
    slot: usize,
    _place: Place,
}

impl Handshakes {
    /// None yet. `seed` keeps strangers from knowing which peers share a counter.
    pub fn new(seed: u64) -> Self {
        Self {
            all: Arc::default(),
            peers: (0..SLOTS).map(|_| Gauge::new()).collect(),
            seed,
        }
    }

    /// A handshake with `peer` begins; `None`: too many are under way.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Handshake> {
        let slot = random::index(random::split(self.seed ^ number(peer)).0, SLOTS);
        let gauge = self.peers.get(slot)?;
        if !gauge.enter(HANDSHAKES_PER_PEER_MAX) {
            return None;
        }
        let Some(place) = self.all.enter(HANDSHAKES_MAX) else {
            gauge.leave();
            return None;
        };
        Some(Handshake {
            of: self.clone(),
            slot,
            _place: place,
        })
    }

    /// How many are under way.
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

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(gauge) = self.of.peers.get(self.slot) {
            gauge.leave();
        }
    }
}
