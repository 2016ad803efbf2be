//! Which services are said to be down.

use super::*;

#[test]
fn a_service_whose_port_was_forgotten_is_down() {
    let service = |name: &str, without_port, only_calls| ServiceReport {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        without_port,
        only_calls,
        ..ServiceReport::default()
    };
    let line = services_line(&[
        service("api", true, false),
        service("gone", false, false),
        service("job", false, true),
    ]);
    for part in [
        "0/2 ready",
        "and 1 that only calls",
        "no healthy instance: shop/api (its sidecars were started without --port), shop/gone",
    ] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}
