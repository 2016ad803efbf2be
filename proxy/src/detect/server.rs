//! Server-first protocols (SMTP, MySQL, FTP, SSH): the called one's first byte says that this is no HTTP, while its
//! caller still waits for it.
//!
//! To be asked in parallel with looking at the caller ([`super::reader::look_unless`]): then a greeting is delayed
//! by nothing but the connection to whoever greets.

use std::time::Duration;

use tokio::{net::TcpStream, time::sleep};

/// A caller that speaks first does so at once, with its handshake's last packet: before this time the called one is not
/// troubled with a connection that may not be for it.
pub const CALLER_FIRST: Duration = Duration::from_millis(2);

/// Bytes that belong together come together: later than this after half of a frame's head, the rest is not one's.
pub const REST_FOLLOWS: Duration = Duration::from_millis(5);

/// Returns when `server` has said something that no HTTP server says first, or has closed. Takes nothing.
pub async fn speaks_first(server: &TcpStream) {
    let mut first = [0; 9];
    loop {
        let Ok(seen) = server.peek(&mut first).await else {
            return;
        };
        match says_http(first.get(..seen).unwrap_or_default()) {
            // It waits for a request, and so do we.
            Some(true) => return std::future::pending().await,
            Some(false) => return,
            None => {
                // Half a frame's head: the rest follows at once, or this is no HTTP/2.
                sleep(REST_FOLLOWS).await;
                match server.peek(&mut first).await {
                    Ok(more) if more > seen => {}
                    _ => return,
                }
            }
        }
    }
}

/// As [`speaks_first`], for streams that cannot be peeked at: what its first bytes say. `None`: too few to tell.
pub fn is_first_of_http(bytes: &[u8]) -> Option<bool> {
    says_http(bytes.get(..9).unwrap_or(bytes))
}

/// Whether a server's first bytes are HTTP's: HTTP/2's SETTINGS frame (RFC 9113 §3.4), which some servers send
/// before they have read anything, or an HTTP/1 status line (408 for a caller that is silent). `None`: too few.
fn says_http(first: &[u8]) -> Option<bool> {
    const SETTINGS: u8 = 4;
    if let [_, _, _, kind, _, stream @ ..] = first
        && stream.len() == 4
    {
        return Some(*kind == SETTINGS && stream == [0; 4] || first.starts_with(b"HTTP/"));
    }
    match first {
        [] => Some(false),
        [0, 0] | [0] | [0, 0, _] => None,
        [0, 0, _, kind, ..] if *kind == SETTINGS => None,
        _ if b"HTTP/".starts_with(first) => None,
        _ => Some(first.starts_with(b"HTTP/")),
    }
}

#[cfg(test)]
mod tests;
