//! Whether the kernel's rules leave this sidecar's own connections alone: else each call that it makes would come
//! back to it as one of the application's, for ever.
//!
//! It calls itself on an address that is not loopback. That connection arrives where it was sent, or, intercepted, at
//! the outbound listener instead. No packet leaves the machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tracing::debug;

use super::Exit;

/// Within one machine a connection takes microseconds; a machine that is busy is given more.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);

/// Documentation addresses (RFC 5737, RFC 3849): only asked for the way to them.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Tries each family in which this machine has an address; where it has none, nothing can be intercepted.
///
/// # Errors
/// [`Exit::InterceptsItself`].
pub(super) async fn run() -> Result<(), Exit> {
    for destination in ANYWHERE {
        match arrives(destination).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(Exit::InterceptsItself {
                    uid: geteuid().as_raw(),
                });
            }
            Err(error) => debug!(%error, "no address to test interception with"),
        }
    }
    Ok(())
}

/// Whether a connection to our own address reaches it.
async fn arrives(towards: IpAddr) -> io::Result<bool> {
    let any: IpAddr = match towards {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connecting a datagram socket only chooses a route, and with it our address.
    let route = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    route.connect(SocketAddr::new(towards, 9)).await?;
    let own = route.local_addr()?.ip();
    if own.is_loopback() {
        return Ok(true);
    }
    let listener = TcpListener::bind(SocketAddr::new(own, 0)).await?;
    let address = listener.local_addr()?;
    let called = timeout(ARRIVES_WITHIN, TcpStream::connect(address)).await??;
    let caller = called.local_addr()?;
    let arrived = timeout(ARRIVES_WITHIN, async {
        loop {
            match listener.accept().await {
                // Anybody may call while we listen.
                Ok((_, peer)) if peer != caller => {}
                other => return other.map(drop),
            }
        }
    });
    match arrived.await {
        Ok(result) => result.map(|()| true),
        Err(_) => Ok(false),
    }
}
