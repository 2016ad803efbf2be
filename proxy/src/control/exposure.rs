//! Whether the application can be reached around its sidecar: then no policy of the mesh would hold.
//!
//! The kernel's own list of listeners is read (`/proc/net/tcp{,6}`, proc(5)): what an application was told to bind
//! says nothing about what it has bound.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use usher_config::value::Port;

const LISTEN: &str = "0A";

/// The listener through which others reach the application on `port` without passing its sidecar, if there is one.
/// `own` is the sidecar's inbound listener, which may have the same port on another address.
///
/// # Errors
/// When the kernel's list cannot be read.
pub(super) fn exposed_listener(
    port: Port,
    own: Option<SocketAddr>,
) -> io::Result<Option<SocketAddr>> {
    let tcp = fs::read_to_string("/proc/net/tcp")?;
    // Absent where the kernel has no IPv6.
    let tcp6 = match fs::read_to_string("/proc/net/tcp6") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    Ok(find(&tcp, &tcp6, port, own))
}

pub(super) fn find(
    tcp: &str,
    tcp6: &str,
    port: Port,
    own: Option<SocketAddr>,
) -> Option<SocketAddr> {
    let mut listeners = tcp.lines().chain(tcp6.lines()).filter_map(listener);
    listeners.find(|address| {
        let loopback = address.ip().to_canonical().is_loopback();
        address.port() == port.get() && !loopback && Some(*address) != own
    })
}

/// `sl local_address rem_address st …`; the header and other states are no listeners.
fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace();
    let (_, local, _, state) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some(SocketAddr::new(
        ip(address)?,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

/// Words of 32 bits in hex, each in the machine's byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |range| {
        u32::from_str_radix(hex.get(range)?, 16)
            .ok()
            .map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0..8)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index * 8..index * 8 + 8)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
