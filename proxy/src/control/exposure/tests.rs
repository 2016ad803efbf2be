//! Exposure: real excerpts of proc(5) in this machine's byte order, and a real listener.

use std::net::TcpListener;

use super::*;

const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

fn line(address: SocketAddr, state: &str) -> String {
    let hex: String = match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(ip) => {
            let words = ip.octets();
            let words = words
                .chunks_exact(4)
                .map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
            words.map(|word| format!("{word:08X}")).collect()
        }
    };
    format!(
        "   0: {hex}:{:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000\n",
        address.port()
    )
}

fn found(listeners: &[(&str, &str)], own: Option<&str>) -> Option<String> {
    let (mut tcp, mut tcp6) = (HEADER.to_owned(), HEADER.to_owned());
    for (address, state) in listeners {
        let address: SocketAddr = address.parse().unwrap();
        if address.is_ipv4() {
            &mut tcp
        } else {
            &mut tcp6
        }
        .push_str(&line(address, state));
    }
    let own = own.map(|own| own.parse().unwrap());
    find(&tcp, &tcp6, "8080".parse().unwrap(), own).map(|address| address.to_string())
}

#[test]
fn only_listeners_of_the_port_beyond_loopback_expose_it() {
    for (listeners, own, expected) in [
        (vec![("127.0.0.1:8080", "0A")], None, None),
        (
            vec![
                ("127.0.0.9:8080", "0A"),
                ("[::1]:8080", "0A"),
                ("[::ffff:127.0.0.1]:8080", "0A"),
            ],
            None,
            None,
        ),
        (vec![("0.0.0.0:8080", "0A")], None, Some("0.0.0.0:8080")),
        (vec![("10.1.2.3:8080", "0A")], None, Some("10.1.2.3:8080")),
        (vec![("[::]:8080", "0A")], None, Some("[::]:8080")),
        (
            vec![("[::ffff:10.1.2.3]:8080", "0A")],
            None,
            Some("[::ffff:10.1.2.3]:8080"),
        ),
        (vec![("0.0.0.0:8081", "0A")], None, None),
        (vec![("10.1.2.3:8080", "01")], None, None),
        (vec![("10.1.2.3:8080", "0A")], Some("10.1.2.3:8080"), None),
    ] {
        assert_eq!(found(&listeners, own).as_deref(), expected, "{listeners:?}");
    }
}

#[test]
fn the_kernels_own_words_are_understood() {
    for (address, exposed) in [
        ("127.0.0.1:0", false),
        ("0.0.0.0:0", true),
        ("[::]:0", true),
    ] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = exposed_listener(Port::try_from(u32::from(port)).unwrap(), None).unwrap();
        assert_eq!(found.is_some(), exposed, "{address}");
    }
}
