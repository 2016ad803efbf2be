//! Ports are free and given once.

use super::*;

#[test]
fn no_port_is_given_twice() {
    let mut ports = Ports::new();
    let given: BTreeSet<u16> = (0..50).map(|_| ports.any().unwrap()).collect();
    assert_eq!(given.len(), 50);
}

#[test]
fn a_busy_port_is_replaced_by_another() {
    let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let preferred = busy.local_addr().unwrap().port();
    assert_ne!(Ports::new().preferring(preferred).unwrap(), preferred);
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
