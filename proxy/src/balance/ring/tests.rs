//! Shares are close to weights, and only what has to move does.

use proptest::prelude::*;

use super::*;
use crate::balance::affinity::hash;

fn named(number: u32, weight: u32) -> (u64, u32) {
    (hash(format!("bank/account/{number}").as_bytes()), weight)
}

fn ring(weights: &[u32]) -> Ring {
    Ring::new(
        (0..)
            .zip(weights)
            .map(|(number, weight)| named(number, *weight)),
    )
}

/// The exact share of each owner: the arcs that end in its points, as parts of one.
fn shares(ring: &Ring, owners: usize) -> Vec<f64> {
    let mut shares = vec![0.0; owners];
    let whole = 2f64.powi(32);
    let last = f64::from(*ring.places.last().unwrap()) - whole;
    let mut before = last;
    for (place, owner) in ring.places.iter().zip(&ring.owners) {
        shares[*owner as usize] += (f64::from(*place) - before) / whole;
        before = f64::from(*place);
    }
    shares
}

fn owner(ring: &Ring, key: u64) -> usize {
    ring.from(key).next().unwrap()
}

fn keys() -> impl Iterator<Item = u64> {
    (0..4000u64).map(|key| hash(&key.to_le_bytes()))
}

#[test]
fn no_endpoint_has_much_more_or_less_than_its_share() {
    for count in [1, 2, 3, 5, 10, 30, 100] {
        let shares = shares(&ring(&vec![1; count]), count);
        for share in shares {
            let relative = share * count as f64;
            assert!((0.7..1.35).contains(&relative), "{relative} of {count}");
        }
    }
}

#[test]
fn weights_are_shares() {
    let shares = shares(&ring(&[1, 2, 4, 1]), 4);
    for (share, weight) in shares.iter().zip([0.125, 0.25, 0.5, 0.125]) {
        assert!((share / weight - 1.0).abs() < 0.35, "{shares:?}");
    }
}

proptest! {
    #[test]
    fn an_endpoint_that_joins_takes_its_share_and_moves_nothing_else(count in 1..40usize) {
        let (before, after) = (ring(&vec![1; count]), ring(&vec![1; count + 1]));
        let moved: Vec<u64> = keys().filter(|key| owner(&before, *key) != owner(&after, *key)).collect();
        prop_assert!(moved.iter().all(|key| owner(&after, *key) == count));
        let fair = 4000.0 / (count + 1) as f64;
        prop_assert!((moved.len() as f64) < 1.5 * fair + 20.0, "{} of {}", moved.len(), count);
    }

    #[test]
    fn an_endpoint_that_leaves_moves_its_own_keys_only(count in 2..40usize, leaves in any::<prop::sample::Index>()) {
        let leaves = leaves.index(count);
        let before = ring(&vec![1; count]);
        let rest: Vec<usize> = (0..count).filter(|number| *number != leaves).collect();
        let after = Ring::new(rest.iter().map(|number| named(u32::try_from(*number).unwrap(), 1)));
        for key in keys() {
            let was = owner(&before, key);
            prop_assert!(was == leaves || rest[owner(&after, key)] == was);
        }
    }

    #[test]
    fn the_keys_of_one_that_cannot_answer_spread_over_the_others(count in 4..20usize) {
        let ring = ring(&vec![1; count]);
        let mut taken = vec![0; count];
        for key in keys().filter(|key| owner(&ring, *key) == 0) {
            taken[ring.from(key).find(|owner| *owner != 0).unwrap()] += 1;
        }
        let all: usize = taken.iter().sum();
        prop_assert!(taken.iter().all(|share| share * 3 < all * 2), "{:?}", taken);
    }

    #[test]
    fn every_owner_is_reached_from_every_key(weights in prop::collection::vec(1..1000u32, 1..20), key in any::<u64>()) {
        let ring = ring(&weights);
        for owner in 0..weights.len() {
            prop_assert!(ring.from(key).any(|reached| reached == owner));
        }
    }
}
