//! Free ports on loopback, chosen so that they are still free when the program binds them.
//!
//! Why not port 0: an application is told its port before it starts, and is started again on the same
//! one. A port of the kernel's ephemeral range may become the source port of somebody's outgoing
//! connection in between, so ports are taken from below that range.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

/// Ports below this are often spoken for by daemons of the machine.
const LOWEST: u16 = 20_000;
/// Where Linux' ephemeral range begins unless it was configured.
const EPHEMERAL_DEFAULT: u16 = 32_768;
/// With a smaller range the ephemeral one is used after all.
const ROOM_MIN: u16 = 512;

/// Hands out ports and never the same one twice.
#[derive(Debug)]
pub(crate) struct Ports {
    range: Range<u16>,
    given: BTreeSet<u16>,
    next: u16,
}

/// Every port of the range is taken.
#[derive(Debug, thiserror::Error)]
#[error("no free port on 127.0.0.1 between {from} and {to}: end some programs and try again")]
pub(crate) struct NoFreePort {
    from: u16,
    to: u16,
}

impl Ports {
    /// Starts at a place that depends on the process, so that two banks rarely try the same port.
    pub(crate) fn new() -> Self {
        let range = below_ephemeral();
        let room = u32::from(range.end - range.start);
        let offset = std::process::id().wrapping_mul(37) % room;
        let next = range.start + u16::try_from(offset).unwrap_or_default();
        Self {
            range,
            given: BTreeSet::new(),
            next,
        }
    }

    /// A free port.
    ///
    /// # Errors
    /// When no port of the range can be bound.
    pub(crate) fn any(&mut self) -> Result<u16, NoFreePort> {
        for _ in self.range.clone() {
            let port = self.next;
            self.next = if port + 1 < self.range.end {
                port + 1
            } else {
                self.range.start
            };
            if !self.given.contains(&port) && is_free(port) {
                self.given.insert(port);
                return Ok(port);
            }
        }
        Err(NoFreePort {
            from: self.range.start,
            to: self.range.end,
        })
    }
}

/// Whether nobody listens there.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn below_ephemeral() -> Range<u16> {
    let configured =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = configured
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    let end: u16 = end.unwrap_or(EPHEMERAL_DEFAULT);
    if end > LOWEST + ROOM_MIN {
        LOWEST..end
    } else {
        LOWEST..u16::MAX
    }
}

#[cfg(test)]
mod tests;
