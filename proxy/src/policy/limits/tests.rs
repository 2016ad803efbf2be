//! A limit is never exceeded and every place comes back.

use std::sync::Arc;

use super::*;

#[test]
fn as_many_as_the_limit_enter() {
    let load = Arc::new(InFlight::new());
    let places: Vec<Place> = (0..10).filter_map(|_| load.enter(3)).collect();
    assert_eq!(places.len(), 3);
    assert_eq!(load.count(), 3);
    drop(places);
    assert_eq!(load.count(), 0);
    assert!(load.enter(0).is_none());
}

#[test]
fn threads_together_never_exceed_the_limit() {
    let load = Arc::new(InFlight::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let place = load.enter(2);
                    // An attempt to enter counts for a moment; places never exceed the bound.
                    assert!(place.is_none() || load.count() <= 2 + 4);
                }
            });
        }
    });
    assert_eq!(load.count(), 0);
}

#[test]
fn one_peer_cannot_take_the_handshakes_of_others() {
    let handshakes = Arc::new(Peers::handshakes(7));
    let (greedy, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let taken: Vec<PeerPlace> = (0..1000).filter_map(|_| handshakes.enter(greedy)).collect();
    assert_eq!(
        taken.len(),
        usize::try_from(HANDSHAKES_PER_PEER_MAX).unwrap()
    );
    assert!(handshakes.enter(other).is_some());
    drop(taken);
    assert_eq!(handshakes.count(), 0);
    assert!(handshakes.enter(greedy).is_some());
}

#[test]
fn the_addresses_of_one_ipv6_network_are_one_peer() {
    let handshakes = Arc::new(Peers::handshakes(7));
    let taken = (0..1000_u16)
        .filter_map(|host| {
            handshakes.enter(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 1, 2, 3, host).into())
        })
        .collect::<Vec<_>>();
    assert_eq!(
        taken.len(),
        usize::try_from(HANDSHAKES_PER_PEER_MAX).unwrap()
    );
}

#[test]
fn all_peers_together_have_a_bound() {
    let handshakes = Arc::new(Peers::handshakes(7));
    let taken = (0..5000_u32)
        .filter_map(|host| handshakes.enter(std::net::Ipv4Addr::from(host).into()))
        .collect::<Vec<_>>();
    assert_eq!(taken.len(), usize::try_from(HANDSHAKES_MAX).unwrap());
}

#[test]
fn connections_of_one_peer_leave_room_for_others() {
    let outsiders = Arc::new(Peers::outsiders(7, 2));
    let (greedy, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let taken: Vec<PeerPlace> = (0..10_000)
        .filter_map(|_| outsiders.enter(greedy))
        .collect();
    let most = usize::try_from(2 * OUTSIDERS_PER_PEER_MAX).unwrap();
    assert_eq!(taken.len(), most);
    assert!(outsiders.enter(other).is_some());
    drop(taken);
    assert_eq!(outsiders.count(), 0);
}
