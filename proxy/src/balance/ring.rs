//! Ring hash: the same endpoint for the same key, and little moves when endpoints come and go.
//!
//! Every endpoint has points on a ring of hashes, as many as its weight deserves; a key belongs to the next point.
//! Where a point lies follows from the endpoint's name alone, so all callers' sidecars agree, before and after a
//! restart. An endpoint that joins takes keys from the others and moves none between them (Karger 1997; Envoy's
//! `RING_HASH`), unless it is heavier than all: points are relative to the heaviest, so when that one comes or goes the
//! others have more or fewer, and keys move among them too.

use crate::random;

/// Points of the heaviest endpoint. More even out the shares (their spread is 1/√points, 9 %) and cost 8 bytes each.
/// The same however many endpoints there are: a number that followed theirs would move keys at every step.
const POINTS: u64 = 128;

/// Points in the order of their places, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Ring {
    places: Box<[u32]>,
    owners: Box<[u32]>,
}

impl Ring {
    /// Of owners by number, each with the hash of its name and its weight.
    pub(super) fn new(owners: impl Iterator<Item = (u64, u32)> + Clone) -> Self {
        let heaviest = owners.clone().map(|(_, weight)| weight).max().unwrap_or(1);
        let mut points: Vec<(u32, u64, u32)> = Vec::new();
        for ((name, weight), owner) in owners.zip(0u32..) {
            let share = POINTS * u64::from(weight) / u64::from(heaviest.max(1));
            points.extend((0..share.max(1)).map(|number| (place(name, number), name, owner)));
        }
        // Of two points in one place the same comes first, whatever the order of owners.
        points.sort_unstable();
        Self {
            places: points.iter().map(|(place, ..)| *place).collect(),
            owners: points.iter().map(|(.., owner)| *owner).collect(),
        }
    }

    /// Owners from the key's point onwards, once around, as often as they have points.
    pub(super) fn from(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let first = self.places.partition_point(|place| *place < high(key));
        let (before, after) = self.owners.split_at(first);
        let around = after.iter().chain(before);
        around.filter_map(|owner| usize::try_from(*owner).ok())
    }
}

fn place(name: u64, number: u64) -> u32 {
    high(random::split(name.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).0)
}

fn high(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests;
