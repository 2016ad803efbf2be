//! Addresses for programs that cannot say which free port they took.
//!
//! Nobody else listens on this process's own loopback address, and the ports lie below those that the kernel
//! hands out: an address given to a program is still free when it binds, as a port that was bound and released
//! to learn its number is not.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
};

static NEXT: AtomicU16 = AtomicU16::new(10_001);

/// One that was not handed out before.
pub(crate) fn free() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high | 0x40, middle, low);
    SocketAddr::from((address, NEXT.fetch_add(1, Ordering::Relaxed)))
}
