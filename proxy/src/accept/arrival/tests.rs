//! What is ours is told from what was handed over, and what would come back to us is found out.

use std::net::TcpListener;

use super::*;

fn arrival(purpose: &Purpose, destination: &str, local: &str, peer: &str) -> Arrival {
    let address = |text: &str| text.parse().unwrap();
    Ends {
        destination: address(destination),
        local: address(local),
        peer: address(peer),
    }
    .arrival(purpose, &[15001, 15006, 15020])
}

#[test]
fn whoever_asks_whether_it_is_intercepted_is_and_nobody_is_called_for_that() {
    for witness in ["127.0.15.1:5432", "127.0.15.2:5432"] {
        let found = arrival(
            &Purpose::Outbound,
            witness,
            "127.0.0.1:15001",
            "127.0.0.1:40000",
        );
        assert_eq!(found, Arrival::Witness, "{witness}");
    }
}

#[test]
fn destinations_decide() {
    use Arrival::{Direct, Intercepted, Looping};
    let (own, outside) = (
        "10.0.0.2:15006".parse().unwrap(),
        "10.0.0.9:15001".parse().unwrap(),
    );
    let database = "10.0.0.9:5432".parse().unwrap();
    for (purpose, destination, local, peer, expected) in [
        (
            Purpose::Outbound,
            "127.0.0.1:15001",
            "127.0.0.1:15001",
            "127.0.0.1:40000",
            Direct,
        ),
        (
            Purpose::Outbound,
            "10.0.0.9:5432",
            "127.0.0.1:15001",
            "10.0.0.2:40000",
            Intercepted(database),
        ),
        // Another machine may have something on a port of ours.
        (
            Purpose::Outbound,
            "10.0.0.9:15001",
            "127.0.0.1:15001",
            "10.0.0.2:40000",
            Intercepted(outside),
        ),
        (
            Purpose::Outbound,
            "10.0.0.2:15006",
            "127.0.0.1:15001",
            "10.0.0.2:40000",
            Looping(own),
        ),
        (
            Purpose::Inbound,
            "10.0.0.2:15006",
            "10.0.0.2:15006",
            "10.0.0.9:40000",
            Direct,
        ),
        (
            Purpose::Inbound,
            "10.0.0.2:15006",
            "10.0.0.3:15006",
            "10.0.0.9:40000",
            Looping(own),
        ),
        // TPROXY: the socket's own address is the destination.
        (
            Purpose::Inbound,
            "10.0.0.9:5432",
            "10.0.0.9:5432",
            "10.0.0.7:40000",
            Intercepted(database),
        ),
    ] {
        assert_eq!(
            arrival(&purpose, destination, local, peer),
            expected,
            "{destination} at {local}"
        );
    }
}

#[test]
fn a_connection_to_our_own_listener_is_direct() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _caller = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let arrival = Arrival::of(&accepted, &Purpose::Outbound, &[address.port()]).unwrap();
    assert_eq!(arrival, Arrival::Direct);
}
