//! Whether `--control-plane` is another one than that of this machine, which makes the tokens that nobody gave.

use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};

use super::Run;

/// Whether it is certain that they differ. A name that means nothing, and a control plane that has not said yet where it
/// listens, may be the same.
pub(super) fn is_elsewhere(run: &Run) -> bool {
    let (Some(given), Some(here)) = (&run.control_plane, run.data.addresses()) else {
        return false;
    };
    let meant: Result<Vec<_>, _> = given.split(',').map(|one| one.to_socket_addrs()).collect();
    let Ok(meant) = meant else {
        return false;
    };
    let meant: Vec<SocketAddr> = meant.into_iter().flatten().collect();
    !meant.is_empty() && !meant.iter().any(|meant| is_at(*meant, here.grpc))
}

/// Whether who dials `meant` meets whoever listens on `listener`.
fn is_at(meant: SocketAddr, listener: SocketAddr) -> bool {
    let ip = meant.ip();
    let same = ip == listener.ip() || (listener.ip().is_unspecified() && is_of_this_machine(meant));
    same && meant.port() == listener.port()
}

/// Nobody can bind another machine's address; nothing is sent.
fn is_of_this_machine(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_reaches_who_listens_on_all_of_them() {
        let at =
            |meant: &str, listener: &str| is_at(meant.parse().unwrap(), listener.parse().unwrap());
        assert!(at("127.0.0.1:15012", "127.0.0.1:15012"));
        assert!(at("127.0.0.2:15012", "0.0.0.0:15012"));
        assert!(!at("127.0.0.1:15013", "127.0.0.1:15012"), "another port");
        assert!(!at("127.0.0.2:15012", "127.0.0.1:15012"), "another address");
        // TEST-NET-1 (RFC 5737): nobody has it.
        assert!(!at("192.0.2.1:15012", "0.0.0.0:15012"), "another machine");
    }
}
