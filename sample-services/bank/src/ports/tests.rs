//! Ports are free and given once.

use super::*;

#[test]
fn no_port_is_given_twice() {
    let mut ports = Ports::new();
    let given: BTreeSet<u16> = (0..50).map(|_| ports.any().unwrap()).collect();
    assert_eq!(given.len(), 50);
}

#[test]
fn a_busy_port_is_passed_over() {
    let mut ports = Ports::new();
    let next = ports.any().unwrap() + 1;
    let _busy = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
    assert_ne!(ports.any().unwrap(), next);
}

#[test]
fn ports_that_usher_takes_by_itself_stay_free() {
    let range = Ports::new().range;
    for known in [15_001, 15_006, 15_010, 15_012, 15_020] {
        assert!(!range.contains(&known), "{known} in {range:?}");
    }
}

#[test]
fn when_all_are_taken_it_says_so() {
    let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = busy.local_addr().unwrap().port();
    let mut ports = Ports {
        range: port..port + 1,
        given: BTreeSet::new(),
        next: port,
    };
    assert!(ports.any().is_err());
}
