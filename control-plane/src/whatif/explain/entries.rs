//! Ways in from outside: which listeners of which Gateways lead where, by which rule, and past what.

use std::collections::BTreeSet;

use serde::Serialize;
use usher_config::{
    kind::{Kind, ObjectKey},
    model::{Backend, BackendTarget, Gateway, Listener, ListenerProtocol, RateLimits},
    value::ServiceName,
};

use super::{Field, Known, Lost, Taken, backend, conditions, guards::guards};
use crate::compile::{Compiled, described, explain::Door};

/// A rule at a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `Gateway namespace/name`
    pub gateway: String,
    /// Where that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `shop (443 HTTPS, shop.example.com)`
    pub listener: String,
    /// `Kind namespace/name`
    pub route: String,
    /// Its name, else its number.
    pub rule: String,
    /// Where the rule is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_at: Option<String>,
    /// Each is enough; of a route for connections the host names. Not those of which other rules get all requests.
    pub matches: Vec<String>,
    /// What other rules get of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Taken>,
    /// `90 namespace/service:port`
    pub backends: Vec<String>,
    /// Whose tokens are believed there, and what is counted; nothing of either for connections.
    pub guards: Vec<Field>,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayExplained {
    /// `Gateway namespace/name`
    pub object: String,
    /// Where it is written.
    pub at: Option<String>,
    /// Who may run it.
    pub identities: Vec<String>,
    /// `shop (443 HTTPS, shop.example.com)`
    pub listeners: Vec<String>,
    /// What holds for all of its requests that some route takes.
    pub guards: Vec<Field>,
    /// By listener, in the order in which they are asked.
    pub entries: Vec<Entry>,
    /// What of it does not do all that it says.
    pub conditions: Vec<String>,
}

/// Explains a gateway; `None`: there is none of that name.
pub fn gateway(known: Known<'_>, name: &ServiceName) -> Option<GatewayExplained> {
    let model = known.compiled.gateways.get(name)?;
    let key = key(name);
    let backing = known.compiled.backing.get(name).into_iter().flatten();
    let mut about: BTreeSet<ObjectKey> = [key.clone()].into();
    for listener in &model.listeners {
        let requests = listener.routes.iter().map(|one| &one.route.name);
        let connections = listener.streams.iter().map(|one| &one.name);
        let rules = requests.chain(connections);
        about.extend(rules.filter_map(|rule| Some(known.places.of_rule(rule)?.0)));
    }
    Some(GatewayExplained {
        object: key.to_string(),
        at: known.places.of(&key, ""),
        identities: backing.map(|one| one.identity.to_string()).collect(),
        listeners: model.listeners.iter().map(listener).collect(),
        guards: guards(
            known,
            &Door::Gateway(name),
            model.authentication.as_ref(),
            model.rate_limits.iter(),
        ),
        entries: of_gateway(&Lost::new(known), known, (name, model), &|_, _| true),
        conditions: conditions(known.compiled, |object, _| about.contains(object)),
    })
}

/// All that lead to a service.
pub(super) fn to_service(known: Known<'_>, name: &ServiceName) -> Vec<Entry> {
    let leads = |_: &str, backends: &[Backend]| {
        let mut backends = backends.iter();
        backends.any(|one| matches!(&one.target, BackendTarget::Service(to) if to.service == *name))
    };
    all(known, &leads)
}

/// All rules of a route, whose names begin so.
pub(super) fn of_route(known: Known<'_>, prefix: &str) -> Vec<Entry> {
    all(known, &|name, _| name.starts_with(prefix))
}

type Wanted<'w> = &'w dyn Fn(&str, &[Backend]) -> bool;

fn all(known: Known<'_>, wanted: Wanted<'_>) -> Vec<Entry> {
    let lost = Lost::new(known);
    let gateways = known.compiled.gateways.iter();
    gateways
        .flat_map(|gateway| of_gateway(&lost, known, gateway, wanted))
        .collect()
}

fn of_gateway(
    lost: &Lost<'_>,
    known: Known<'_>,
    (name, model): (&ServiceName, &Gateway),
    wanted: Wanted<'_>,
) -> Vec<Entry> {
    let mut entries: Vec<(String, Entry)> = Vec::new();
    for at in &model.listeners {
        let requests = at.routes.iter().map(|one| {
            let hosts = one.route.hostnames.iter().map(ToString::to_string);
            let hosts: Vec<String> = hosts.collect();
            let host = match hosts.is_empty() {
                true => String::new(),
                false => format!("{}: ", hosts.join(" or ")),
            };
            let matches = format!("{host}{}", described(&one.route.matches));
            let route = &one.route;
            (&route.name, &*route.backends, matches, Some(route))
        });
        let connections = at.streams.iter().map(|one| {
            let host = one.hostname.as_ref();
            let host = host.map_or("every connection".to_owned(), |host| format!("SNI {host}"));
            (&one.name, one.backends.as_slice(), host, None)
        });
        for (rule, backends, matches, request) in requests.chain(connections) {
            if !wanted(rule, backends) {
                continue;
            }
            let label = format!("{} {rule}", at.name);
            if let Some((_, entry)) = entries.iter_mut().find(|(known, _)| *known == label) {
                lost.add((request, matches), &mut entry.matches, &mut entry.taken);
                continue;
            }
            let (route, number, rule_at) = known.places.of_rule(rule).map_or_else(
                || (rule.to_string(), String::new(), None),
                |(key, number, at)| (key.to_string(), number, at),
            );
            let mut entry = Entry {
                gateway: key(name).to_string(),
                at: known.places.of(&key(name), ""),
                listener: listener(at),
                route,
                rule: number,
                rule_at,
                matches: Vec::new(),
                taken: Vec::new(),
                backends: backends.iter().map(backend).collect(),
                guards: match request {
                    Some(_) => of_rule(known, name, model, rule),
                    None => Vec::new(),
                },
            };
            lost.add((request, matches), &mut entry.matches, &mut entry.taken);
            entries.push((label, entry));
        }
    }
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// What a request that the rule takes has to pass.
fn of_rule(known: Known<'_>, name: &ServiceName, model: &Gateway, rule: &str) -> Vec<Field> {
    let own = model.route_authentication.iter();
    let mut own = own
        .filter(|(of, _)| **of == *rule)
        .map(|(_, tokens)| tokens);
    let tokens = own.next().or(model.authentication.as_ref());
    let limits = model.route_limits.iter().filter(|(of, _)| **of == *rule);
    let limits = limits.map(|(_, limits)| limits);
    let all: Vec<&RateLimits> = model.rate_limits.iter().chain(limits).collect();
    let door = match known.places.number_of_rule(rule) {
        Some((route, number)) => Door::Rule(name, route, number),
        None => Door::Gateway(name),
    };
    guards(known, &door, tokens, all.into_iter())
}

fn listener(listener: &Listener) -> String {
    let spoken = match listener.protocol {
        ListenerProtocol::Http => "HTTP",
        ListenerProtocol::Https => "HTTPS",
        ListenerProtocol::TlsTerminate => "TLS, ends here",
        ListenerProtocol::TlsPassthrough => "TLS, passed on",
        ListenerProtocol::Tcp => "TCP",
    };
    let host = listener.hostname.as_ref();
    let host = host.map(|host| format!(", {host}")).unwrap_or_default();
    format!("{} ({} {spoken}{host})", listener.name, listener.port)
}

fn key(name: &ServiceName) -> ObjectKey {
    ObjectKey {
        kind: Kind::Gateway,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    }
}

/// Whether a service's own sidecars look at requests at all.
pub(super) fn guards_of_service(known: Known<'_>, name: &ServiceName) -> Vec<Field> {
    let compiled: &Compiled = known.compiled;
    match compiled.inbound.get(name) {
        Some(own) => guards(
            known,
            &Door::Service(name),
            own.authentication.as_ref(),
            own.rate_limits.iter(),
        ),
        None => Vec::new(),
    }
}
