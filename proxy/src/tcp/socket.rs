//! Socket options that every connection of the mesh gets.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// A connection on which nothing is under way asks after its peer when it has heard nothing for so long, then this often,
/// and gives it up after so many unanswered questions: a machine that vanished is found out within 25 s.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 2;

/// Of a hop: bytes that nobody acknowledged or took for so long mean that nobody is there.
const HOP_GONE_AFTER: Duration = Duration::from_secs(20);

/// No Nagle delay, and vanished peers noticed. A refused option changes speed, not meaning, so failures are ignored.
///
/// No `TCP_USER_TIMEOUT` (tcp(7)): since Linux 5.11 it also ends a connection whose peer is alive and only reads nothing,
/// a paused download or a job that computes before it goes on. Keepalive rests while bytes are under way; then a vanished
/// peer is found out by the bound of whatever waits for it (a request's timeouts, `timeouts.idle`, a slow reader's bound),
/// and last by the kernel, which sends the bytes again for a quarter of an hour.
pub fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// For HTTP/2 between sidecars, on top of [`tune`]. Both ends always read: who is slow is held back by the stream's
/// window, never by TCP's. And many streams share the connection: none of their bounds ends it, so that without this one
/// each new request would be sent after the others for a quarter of an hour.
pub(super) fn tune_hop(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(HOP_GONE_AFTER));
}
