//! Whatever askers do, nobody has more than a share, no kind has all, and what is given back is free.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    all: 12,
    each: 3,
    reserve: 4,
};

fn at(last: u8) -> Asker {
    Asker::at([10, 0, 0, last].into())
}

fn proven(account: u8) -> Asker {
    let identity = format!("spiffe://usher.local/ns/bank/sa/a{account}");
    Asker::Proven(identity.parse().expect("valid"))
}

#[test]
fn one_machine_has_a_share_and_this_one_all_but_a_reserve() {
    let shares = Shares::new(BOUNDS);
    let mut held: Vec<Place> = (0..3).flat_map(|_| shares.take(&at(1))).collect();
    assert_eq!(shares.take(&at(1)).err(), Some(Full::Share));
    assert!(shares.take(&at(2)).is_ok(), "another one's is free");
    held.clear();
    held.extend((0..8).flat_map(|_| shares.take(&Asker::Here)));
    assert_eq!(held.len(), 8);
    let other_loopback = Asker::at("127.0.0.9".parse().expect("valid"));
    assert_eq!(shares.take(&other_loopback).err(), Some(Full::Share));
    assert!(shares.take(&at(1)).is_ok(), "the reserve");
}

#[test]
fn many_addresses_leave_the_reserve_to_others() {
    let shares = Shares::new(BOUNDS);
    let held: Vec<Place> = (0..100).flat_map(|last| shares.take(&at(last))).collect();
    assert_eq!(held.len(), 8);
    assert_eq!(shares.take(&at(200)).err(), Some(Full::All));
    let _proven = [proven(1), proven(2)].map(|asker| shares.take(&asker).expect("reserved"));
    let _here = [(); 2].map(|()| shares.take(&Asker::Here).expect("reserved"));
    assert_eq!(shares.take(&Asker::Here).err(), Some(Full::All));
}

#[test]
fn an_address_is_one_however_it_is_written() {
    let address = |text: &str| Asker::at(text.parse().expect("valid"));
    assert_eq!(address("::ffff:10.0.0.1"), at(1));
    // Whoever has a network of 64 bits has all addresses in it.
    let one = address("fd00:0:0:1::1");
    assert_eq!(address("fd00:0:0:1:ffff:ffff:ffff:ffff"), one);
    assert_ne!(address("fd00:0:0:2::1"), one);
    for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(address(here), Asker::Here, "{here}");
    }
}

proptest! {
    #[test]
    fn bounds_hold_and_nothing_is_lost(
        events in proptest::collection::vec((0_u8..9, any::<prop::sample::Index>(), any::<bool>()), 0..200),
    ) {
        let shares = Shares::new(BOUNDS);
        let mut held: Vec<Place> = Vec::new();
        for (who, which, goes) in events {
            if goes && !held.is_empty() {
                drop(held.remove(which.index(held.len())));
                continue;
            }
            let asker = match who {
                0 => Asker::Here,
                1..5 => at(who),
                _ => proven(who),
            };
            let own = held.iter().filter(|place| place.asker == asker).count();
            let of_kind = held.iter().filter(|place| place.asker.kind() == asker.kind()).count();
            let room = own < if asker == Asker::Here { 8 } else { 3 } && of_kind < 8 && held.len() < 12;
            let place = shares.take(&asker);
            prop_assert_eq!(place.is_ok(), room);
            held.extend(place);
        }
        held.clear();
        let taken = lock(&shares.taken);
        prop_assert!(taken.each.is_empty() && taken.kinds.values().all(|count| *count == 0));
    }
}
