//! The table agrees with a plain reading of the rules: first of a port and name; exact, longest wildcard, any.

use std::sync::Arc;

use crate::value::Hostname;
use proptest::prelude::*;

use super::*;

/// Names over a small alphabet, so that they often meet.
fn host() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]{1,2}", 1..5).prop_map(|labels| labels.join("."))
}

fn hostname() -> impl Strategy<Value = Option<Hostname>> {
    let wildcard = host().prop_map(|host| Some(format!("*.{host}.a").parse().unwrap()));
    let exact = host().prop_map(|host| Some(format!("{host}.a").parse().unwrap()));
    prop_oneof![1 => Just(None), 3 => wildcard, 3 => exact]
}

fn port(number: u16) -> Port {
    number.to_string().parse().unwrap()
}

fn route() -> impl Strategy<Value = StreamRoute> {
    let ports = proptest::collection::vec(1_u16..4, 0..3);
    (hostname(), ports).prop_map(|(hostname, ports)| StreamRoute {
        name: "".into(),
        callers: None,
        ports: ports.into_iter().map(port).collect(),
        hostname,
        backends: Vec::new(),
    })
}

/// Each with its place as its name.
fn routes() -> impl Strategy<Value = Vec<StreamRoute>> {
    proptest::collection::vec(route(), 0..8).prop_map(|mut routes| {
        for (route, place) in routes.iter_mut().zip(0..) {
            route.name = Arc::from(format!("{place}"));
        }
        routes
    })
}

/// Whether a name covers a host, label by label.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        None => name == host,
        Some(rest) => {
            let (rest, host): (Vec<_>, Vec<_>) =
                (rest.split('.').collect(), host.split('.').collect());
            host.len() > rest.len() && host.ends_with(&rest)
        }
    }
}

/// Tries all, keeps the best: whole names before wildcards, longer before shorter, named before any, first before later.
fn plain<'r>(routes: &'r [StreamRoute], number: u16, sni: Option<&str>) -> Option<&'r StreamRoute> {
    let mut best: Option<((u8, usize), &StreamRoute)> = None;
    for route in routes {
        if !route.ports.is_empty() && !route.ports.contains(&port(number)) {
            continue;
        }
        let rank = match (&route.hostname, sni) {
            (None, _) => (0, 0),
            (Some(name), Some(sni)) if covers(name.as_str(), sni) => {
                let exact = !name.as_str().starts_with('*');
                (if exact { 2 } else { 1 }, name.as_str().len())
            }
            (Some(_), _) => continue,
        };
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, route));
        }
    }
    best.map(|(_, route)| route)
}

proptest! {
    #[test]
    fn the_table_chooses_as_a_plain_reading_does(
        routes in routes(),
        number in 1_u16..5,
        sni in proptest::option::of(host().prop_map(|host| format!("{host}.a"))),
    ) {
        let table = Streams::new(&routes, (1..4).map(port));
        // A port that the service does not have is nobody's.
        let wanted = plain(&routes, number, sni.as_deref()).filter(|_| number < 4);
        let found = table.select(port(number), sni.as_deref());
        prop_assert_eq!(found.map(|route| &route.name), wanted.map(|route| &route.name));
        let of_port: Vec<_> = routes
            .iter()
            .filter(|route| route.ports.is_empty() || route.ports.contains(&port(number)))
            .filter(|_| number < 4)
            .collect();
        match table.at(port(number)) {
            None => prop_assert!(of_port.is_empty()),
            Some(Governed::By(route)) => {
                prop_assert!(of_port.iter().all(|route| route.hostname.is_none()));
                prop_assert_eq!(&route.name, &of_port[0].name);
            }
            Some(Governed::ByName) => {
                prop_assert!(of_port.iter().any(|route| route.hostname.is_some()));
            }
        }
    }
}
