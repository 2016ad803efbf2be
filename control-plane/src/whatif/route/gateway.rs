//! A request from outside, by a gateway: `proxy/src/gateway.rs` is the story.

use usher_config::{
    decide::access::HttpAccess,
    decide::route::{ByHost, Hosts, filter::Asked},
    model::{Gateway, GatewayRoute, Listener, ListenerProtocol},
    value::{Port, ServiceName, SpiffeId},
};

use super::{End, Imagined, Journey, Known, Seen, onward, passed_over, rule};
use crate::whatif::access::provided;

/// What would become of a request that comes to this gateway, at the port of its URL: TLS where the URL says `https`.
pub fn at_gateway(known: Known<'_>, gateway: &Gateway, imagined: &Imagined) -> Journey {
    let mut journey = Journey::new(imagined, &format!("outside, at Gateway {}", gateway.name));
    // Those are the gateway's own to write, and gone before it looks for a route.
    let mut imagined = imagined.clone();
    for name in &gateway.claim_headers {
        imagined.headers.remove(name);
    }
    let seen = match Seen::new(&imagined, known.compiled.path_reading) {
        Ok(seen) => seen,
        Err(why) => return journey.refused(400, "DPE", why),
    };
    let https = imagined.uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    let usual = if https { 443 } else { 80 };
    let port = seen.port.map_or(usual, Port::get);
    let there: Vec<&Listener> = gateway
        .listeners
        .iter()
        .filter(|one| one.port.get() == port)
        .collect();
    if there.is_empty() {
        let ports: Vec<String> = gateway
            .listeners
            .iter()
            .map(|one| one.port.to_string())
            .collect();
        let why = format!(
            "nothing listens on port {port}: there is {}",
            ports.join(", ")
        );
        return journey.refused(0, "-", why);
    }
    let mut by_host: Hosts<&Listener> = Hosts::default();
    for listener in &there {
        by_host.entry(listener.hostname.as_ref(), || *listener);
    }
    let Some(listener) = by_host.most_precise(&seen.host).copied() else {
        let why = format!("no listener of port {port} serves the host {}", seen.host);
        // A handshake for a name that nobody has ends there.
        let (status, flag) = if https { (0, "-") } else { (404, "NR") };
        return journey.refused(status, flag, why);
    };
    journey.to = Some(format!(
        "listener {} of Gateway {}",
        listener.name, gateway.name
    ));
    let spoken = match (listener.protocol, https) {
        (ListenerProtocol::Http, false) | (ListenerProtocol::Https, true) => None,
        (ListenerProtocol::Http, true) => Some("the listener speaks HTTP without TLS"),
        (ListenerProtocol::Https, false) => Some("the listener speaks HTTPS only"),
        (ListenerProtocol::TlsTerminate | ListenerProtocol::TlsPassthrough, _) => {
            Some("the listener takes opaque TLS connections, no requests: see its TLSRoutes")
        }
        (ListenerProtocol::Tcp, _) => {
            Some("the listener takes opaque connections, no requests: see its TCPRoutes")
        }
    };
    if let Some(why) = spoken {
        return journey.refused(0, "-", why);
    }
    along_routes(known, journey, (gateway, listener), &seen)
}

fn along_routes(
    known: Known<'_>,
    mut journey: Journey,
    (gateway, listener): (&Gateway, &Listener),
    seen: &Seen<'_>,
) -> Journey {
    let request = seen.at(listener.port);
    let by_host = ByHost::new(listener.routes.iter().map(|one| &one.route));
    let selected = by_host.select(&request);
    let position = selected.map(|(position, _)| position);
    let others = listener.routes.iter().enumerate();
    let others = others
        .filter(|(place, _)| Some(*place) != position)
        .map(|(_, one)| &one.route);
    let before = others.filter(|route| {
        // Among those of its own host name the rules are in order; those of wider names are asked after it.
        let first = selected.map(|(_, route)| route);
        first.is_none_or(|first| route.hostnames == first.hostnames && route.name != first.name)
    });
    journey.passed_over = passed_over(before, &request, known.places);
    let Some(GatewayRoute { route, policies }) =
        position.and_then(|position| listener.routes.get(position))
    else {
        let why = format!("no route of the listener {} takes it", listener.name);
        return journey.refused(404, "NR", why);
    };
    journey.rule = Some(rule(&route.name, known.places));
    let mut of_routes = gateway.route_authentication.iter();
    let of_route = of_routes.find(|(name, _)| *name == route.name);
    let authentication = of_route
        .map(|(_, own)| own)
        .or(gateway.authentication.as_ref());
    let limits = gateway
        .route_limits
        .iter()
        .filter(|(name, _)| *name == route.name);
    let limits = gateway.rate_limits.iter().chain(limits.map(|(_, own)| own));
    let http = HttpAccess {
        method: &seen.imagined.method,
        path: seen.uri.path(),
        claims: None,
    };
    journey.provided = provided(authentication, limits, Some(http));
    let asked = Asked {
        method: &seen.imagined.method,
        headers: &seen.imagined.headers,
        uri: &seen.uri,
        https: listener.protocol == ListenerProtocol::Https,
        port: Some(listener.port.get()),
    };
    let identity = identity(known, &gateway.name);
    let journey = onward::by_rule(
        known,
        journey,
        (route, policies),
        (&asked, identity.as_ref()),
    );
    // Asked for when filters have not answered, and when it is known where the request would go.
    match authentication.filter(|one| one.invalid) {
        Some(broken) if matches!(journey.end, End::Forwarded { .. }) => {
            let name = &broken.name;
            let why =
                format!("AuthenticationPolicy {name} has mistakes and no valid earlier version");
            journey.refused(403, "JW", why)
        }
        Some(_) | None => journey,
    }
}

/// A gateway calls as the workload of its name.
fn identity(known: Known<'_>, gateway: &ServiceName) -> Option<SpiffeId> {
    let backing = known.compiled.backing.get(gateway)?.first()?;
    Some(backing.identity.clone())
}
