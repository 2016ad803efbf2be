//! Whether the kernel's rules leave this sidecar's own connections alone: else each call that it makes would come
//! back to it as one of the application's, for ever.
//!
//! It calls itself: on an address that the rules hand over for every user but those excluded, and, for rules that are not
//! ours, on one that is not loopback. That connection arrives where it was sent, or, intercepted, elsewhere or nowhere.
//! No packet leaves the machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    time::{sleep, timeout},
};
use tracing::debug;

use super::Exit;
use crate::intercept::ruleset::WITNESS_OF_UID;

/// Within one machine a connection takes microseconds; a machine that is busy is given more.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);

/// Rules may come, or change, after us; each turn of a loop costs two connections and a few hundred microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
    check(WITNESS_OF_UID.into()).await?;
    for destination in ANYWHERE {
        match own_address(destination).await {
            Ok(own) => check(own).await?,
            Err(error) => debug!(%error, "no address to test interception with"),
        }
    }
    Ok(())
}

/// Returns when rules have come that do not.
pub(super) async fn watch() -> Exit {
    loop {
        sleep(LOOK_EVERY).await;
        if let Err(exit) = check(WITNESS_OF_UID.into()).await {
            return exit;
        }
    }
}

async fn check(own: IpAddr) -> Result<(), Exit> {
    match arrives(own).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Exit::InterceptsItself {
            uid: geteuid().as_raw(),
        }),
        Err(error) => {
            debug!(%error, %own, "cannot test interception");
            Ok(())
        }
    }
}

/// The address from which this machine calls in that direction.
async fn own_address(towards: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match towards {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connecting a datagram socket only chooses a route, and with it our address.
    let route = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    route.connect(SocketAddr::new(towards, 9)).await?;
    Ok(route.local_addr()?.ip())
}

/// Whether a connection to an address of our own reaches it.
async fn arrives(own: IpAddr) -> io::Result<bool> {
    let listener = TcpListener::bind(SocketAddr::new(own, 0)).await?;
    let address = listener.local_addr()?;
    let called = match timeout(ARRIVES_WITHIN, TcpStream::connect(address)).await? {
        // We do listen there: it went elsewhere, where nobody does.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(false),
        called => called?,
    };
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
