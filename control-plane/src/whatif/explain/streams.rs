//! Rules of TLSRoutes and TCPRoutes: which connections they take, and where these go.

use usher_config::model::{Protocol, Service, StreamRoute};

use super::{Known, RuleExplained, backend};

/// Whether all that a service takes are connections.
pub(super) fn is_opaque(service: &Service) -> bool {
    let mut ports = service.ports.iter();
    !service.ports.is_empty() && ports.all(|port| port.protocol == Protocol::Tcp)
}

/// Of a treatment's fields those that opaque connections obey (`proxy/src/outbound/opaque.rs`): they are dialled, again if
/// need be, balanced and counted, and have no answers that anybody could time, repeat or replace.
pub(super) fn concerns_connections(field: &str) -> bool {
    const WHOLE: [&str; 5] = [
        "ejection.",
        "loadBalancer.",
        "retry.backoff.",
        "retry.budget.",
        "retry.minRetryRate.",
    ];
    const FIELDS: [&str; 5] = [
        "limits.maxConnections",
        "limits.perEndpoint.maxConnections",
        "retry.attempts",
        "timeouts.connect",
        "timeouts.idle",
    ];
    FIELDS.contains(&field) || WHOLE.iter().any(|group| field.starts_with(group))
}

/// Each rule once, with all that it takes.
pub(super) fn rules<'r>(
    known: Known<'_>,
    streams: impl Iterator<Item = &'r StreamRoute>,
) -> Vec<RuleExplained> {
    let mut told: Vec<(&str, RuleExplained)> = Vec::new();
    for stream in streams {
        let matches = connections(stream);
        if let Some((_, rule)) = told.iter_mut().find(|(name, _)| *name == &*stream.name) {
            if !rule.matches.contains(&matches) {
                rule.matches.push(matches);
            }
            continue;
        }
        let (object, rule, at) = known.places.of_rule(&stream.name).map_or_else(
            || (stream.name.to_string(), String::new(), None),
            |(key, rule, at)| (key.to_string(), rule, at),
        );
        let explained = RuleExplained {
            object,
            rule,
            at,
            callers: stream.callers.as_ref().map(ToString::to_string),
            matches: vec![matches],
            taken: Vec::new(),
            backends: stream.backends.iter().map(backend).collect(),
            // Nothing says more of a connection than where it goes.
            fields: Vec::new(),
        };
        told.push((&stream.name, explained));
    }
    told.into_iter().map(|(_, rule)| rule).collect()
}

fn connections(stream: &StreamRoute) -> String {
    let ports: Vec<String> = stream.ports.iter().map(ToString::to_string).collect();
    let to = match ports.len() {
        0 => String::new(),
        1 => format!(" to port {}", ports.join("")),
        _ => format!(" to ports {}", ports.join(", ")),
    };
    match &stream.hostname {
        Some(host) => format!("TLS connections{to} for {host}"),
        None => format!("connections{to}"),
    }
}
