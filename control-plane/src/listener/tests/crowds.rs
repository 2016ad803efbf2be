//! Nobody has all that there is.

use std::time::Duration;

use rustls::version::TLS13;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    super::{CONNECTIONS_MAX, SHARE, STRANGERS_MAX},
    Port, client, connect, identity_of, next, port_for, port_with,
};
use crate::shares::Asker;

/// Loopback, as if it were an address like any other.
async fn port_for_an_address(connections: usize) -> Port {
    port_with(connections, Asker::At).await
}

async fn is_hung_up_on(stream: &mut TcpStream) -> bool {
    // Sooner than a silent one is.
    let read = timeout(Duration::from_secs(4), stream.read(&mut [0])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn one_address_does_not_get_all_connections() {
    let port = port_for_an_address(16).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(TcpStream::connect(port.address).await.expect("accepted"));
    }
    let beyond = TcpStream::connect(port.address).await;
    assert!(is_hung_up_on(&mut beyond.expect("accepted by the kernel")).await);
    let all = port.metrics.render();
    let counted = "usher_control_handshakes_total{result=\"share\"} 1";
    assert!(all.contains(counted), "{all}");
    // One that leaves makes room.
    let mut left = open.pop().expect("one");
    left.shutdown().await.expect("open");
    drop(left);
    let again = async {
        loop {
            let mut stream = TcpStream::connect(port.address).await.expect("accepted");
            let early = timeout(Duration::from_millis(50), stream.read(&mut [0])).await;
            if early.is_err() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), again).await.expect("room");
}

#[tokio::test]
async fn those_of_this_machine_may_have_all_connections() {
    let port = port_for(16).await;
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(port.address).await.expect("accepted");
        let early = timeout(Duration::from_millis(20), stream.read(&mut [0])).await;
        assert!(early.is_err(), "hung up on");
        open.push(stream);
    }
}

#[tokio::test]
async fn one_address_does_not_have_all_places_of_those_without_a_certificate() {
    let mut port = port_for_an_address(CONNECTIONS_MAX).await;
    let mut open = Vec::new();
    for _ in 0..STRANGERS_MAX / SHARE {
        let stream = connect(&port, client(None, &TLS13)).await.expect("shaken");
        open.push((stream, next(&mut port).await));
    }
    let refused = match connect(&port, client(None, &TLS13)).await {
        Ok(mut stream) => stream.read_u8().await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "its address has its share");
    let id = "spiffe://usher.local/ns/bank/sa/account";
    let identity = identity_of(&port.authority, id, OffsetDateTime::now_utc());
    let known = connect(&port, client(Some(identity), &TLS13)).await;
    let _known = known.expect("whoever has one is none of them");
    assert!(next(&mut port).await.peer().identity.is_some());
}
