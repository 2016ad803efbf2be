//! How a connection came to us, and where it was going: asked of the kernel once, when it is accepted.
//!
//! `REDIRECT` rewrites the destination and remembers the original one (`SO_ORIGINAL_DST`); TPROXY leaves it, so it
//! is the accepted socket's own address. What was sent to one of our listeners has that listener's address both ways.

use std::{
    io,
    net::{SocketAddr, TcpStream},
};

use socket2::SockRef;

use super::Purpose;
use crate::intercept::ruleset::{WITNESS_OF_CGROUP, WITNESS_OF_UID};

/// How a connection came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// To our own listener, by somebody who knows of us.
    Direct,
    /// Handed over by the kernel, on its way to this address.
    Intercepted(SocketAddr),
    /// Handed over by the kernel, but on its way to ourselves: to carry it would be to call ourselves for ever.
    Looping(SocketAddr),
    /// Handed over by the kernel, from somebody who only wants to know whether it does; closed.
    Witness,
}

impl Arrival {
    /// Of a connection that was accepted for `purpose`; `own` are the ports that this sidecar listens on.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn of(stream: &TcpStream, purpose: &Purpose, own: &[u16]) -> io::Result<Self> {
        let (local, peer) = (
            canonical(stream.local_addr()?),
            canonical(stream.peer_addr()?),
        );
        let socket = SockRef::from(stream);
        let original = if local.is_ipv4() {
            socket.original_dst_v4()
        } else {
            socket.original_dst_v6()
        };
        // An error means that no address was translated.
        let original = original.ok().and_then(|address| address.as_socket());
        let ends = Ends {
            destination: original.map_or(local, canonical),
            local,
            peer,
        };
        Ok(ends.arrival(purpose, own))
    }
}

struct Ends {
    destination: SocketAddr,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Ends {
    fn arrival(&self, purpose: &Purpose, own: &[u16]) -> Arrival {
        let Self {
            destination,
            local,
            peer,
        } = self;
        let mut witnesses = [WITNESS_OF_UID, WITNESS_OF_CGROUP].iter();
        let is_witness = witnesses.any(|witness| destination.ip() == *witness);
        if matches!(purpose, Purpose::Outbound) && is_witness {
            return Arrival::Witness;
        }
        if !own.contains(&destination.port()) {
            return Arrival::Intercepted(*destination);
        }
        let is_own = match purpose {
            // Only what is for this machine is intercepted on its way in.
            Purpose::Inbound | Purpose::Gateway(_) => true,
            // A machine calls its own addresses from those same addresses.
            Purpose::Outbound | Purpose::Tcp(_) => destination.ip() == peer.ip(),
        };
        if destination == local {
            Arrival::Direct
        } else if is_own {
            Arrival::Looping(*destination)
        } else {
            Arrival::Intercepted(*destination)
        }
    }
}

/// An IPv4 address as one, also where an IPv6 socket has it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
