//! Which port is meant, and where the application has it.

use super::*;

fn ports(declared: &[u32], told: u16, transparent: bool) -> Ports {
    let port = |number: &u32| Port::try_from(*number).unwrap();
    Ports {
        declared: declared.iter().map(port).collect(),
        first: declared.first().map(port),
        told: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, told))),
        transparent,
    }
}

#[test]
fn what_access_is_decided_for_is_what_is_reached() {
    let reached = |ports: &Ports, dialled| {
        let port = ports.dialled(dialled)?;
        Some((port.get(), ports.application(port)?.port()))
    };
    let own_numbers = ports(&[8080, 9090], 8080, true);
    for (dialled, found) in [
        (8080, Some((8080, 8080))),
        (9090, Some((9090, 9090))),
        (9000, None),
    ] {
        assert_eq!(reached(&own_numbers, dialled), found, "{dialled}");
    }
    let other_number = ports(&[80, 9090], 8080, true);
    for (dialled, found) in [
        (80, Some((80, 8080))),
        (8080, Some((80, 8080))),
        (9090, Some((9090, 9090))),
    ] {
        assert_eq!(reached(&other_number, dialled), found, "{dialled}");
    }
    let explicit = ports(&[80, 9090], 8080, false);
    assert_eq!(reached(&explicit, 9090), Some((9090, 8080)));
}
