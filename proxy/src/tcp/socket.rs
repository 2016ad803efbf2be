//! Socket options that every connection of the mesh gets.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Unacknowledged bytes or unanswered keepalives for this long mean that the peer is gone. Without it a
/// vanished machine would hold its streams until the kernel gives up after a quarter of an hour.
const PEER_GONE_AFTER: Duration = Duration::from_secs(20);

const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// No Nagle delay, and dead peers noticed within [`PEER_GONE_AFTER`]. A refused option changes speed, not
/// meaning, so failures are ignored.
pub fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(PEER_GONE_AFTER));
}
