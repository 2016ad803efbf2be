//! How a service or a route is treated, field by field, and which object decided each.

use std::collections::BTreeSet;

use serde::Serialize;
use usher_config::{
    kind::{Kind, ObjectKey},
    model::{
        AlternativeName, Backend, BackendTarget, BackendTls, Protocol, Roots, Route, ServicePort,
        StreamRoute,
    },
    value::ServiceName,
};

use super::Places;
use crate::{
    compile::{
        Compiled, described,
        explain::{self, Decided},
    },
    registry::{World, object_key},
};

mod entries;
mod guards;
mod streams;
mod taken;

use taken::Lost;

pub use entries::{Entry, GatewayExplained, gateway};
pub use taken::Taken;

/// What all is explained from.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// As accepted.
    pub world: &'k World,
    /// As it would run.
    pub compiled: &'k Compiled,
    /// Where it is written.
    pub places: &'k Places<'k>,
}

/// An effective field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// As in YAML: `timeouts.request`.
    pub field: String,
    /// As in YAML, on one line.
    pub value: String,
    /// `Kind namespace/name`; `None`: nobody, it is the default.
    pub by: Option<String>,
    /// Where that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExplained {
    /// `Service namespace/name`
    pub object: String,
    /// Where it is written.
    pub at: Option<String>,
    /// `8080 web (http)`
    pub ports: Vec<String>,
    /// Who may answer as it.
    pub identities: Vec<String>,
    /// `Workload namespace/name`, with where it is written.
    pub workloads: Vec<Named>,
    /// All that it takes are connections: what is about requests is left out.
    pub opaque: bool,
    /// How callers treat requests that no route takes.
    pub traffic: Vec<Field>,
    /// Whom its own sidecars let in.
    pub access: Vec<Field>,
    /// Whose tokens they believe, and what they count.
    pub guards: Vec<Field>,
    /// Through which gateways the outside world comes to it.
    pub entries: Vec<Entry>,
    /// In the order in which they are asked.
    pub rules: Vec<RuleExplained>,
    /// What does not do all that it says.
    pub conditions: Vec<String>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// `Kind namespace/name`
    pub object: String,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// A rule of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleExplained {
    /// `Kind namespace/name`
    pub object: String,
    /// Its name, else its number.
    pub rule: String,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Only for callers of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callers: Option<String>,
    /// Each is enough. Not those of which other rules get all requests.
    pub matches: Vec<String>,
    /// What other rules get of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Taken>,
    /// `90 namespace/service:port`
    pub backends: Vec<String>,
    /// What it and the policies that target it say, on top of the service's own.
    pub fields: Vec<Field>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteExplained {
    /// `Kind namespace/name`
    pub object: String,
    /// Where it is written.
    pub at: Option<String>,
    /// Services, and listeners of Gateways, whose requests or connections it takes.
    pub parents: Vec<String>,
    /// In the order in which they are asked.
    pub rules: Vec<RuleExplained>,
    /// At gateways: each rule at each listener, and past what.
    pub entries: Vec<Entry>,
    /// What of it does not do all that it says.
    pub conditions: Vec<String>,
}

/// Explains a service; `None`: there is none of that name.
pub fn service(known: Known<'_>, name: &ServiceName) -> Option<ServiceExplained> {
    let service = known.compiled.services.get(name)?;
    let key = ObjectKey {
        kind: Kind::Service,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    let mut decided = explain::service(known.world, name);
    let opaque = streams::is_opaque(service);
    if opaque {
        let traffic = &mut decided.traffic;
        traffic.retain(|one| streams::concerns_connections(&one.field));
    }
    let about = [decided.traffic.as_slice(), decided.access.as_slice()].concat();
    let mut about: BTreeSet<ObjectKey> = about.into_iter().filter_map(|one| one.by).collect();
    let mut rules = rules(known, service.routes.iter());
    rules.extend(streams::rules(known, service.streams.iter()));
    about.extend(decided.workloads.iter().cloned());
    let requests = service.routes.iter().map(|route| &route.name);
    let connections = service.streams.iter().map(|stream| &stream.name);
    let followed = requests.chain(connections);
    about.extend(followed.filter_map(|rule| Some(known.places.of_rule(rule)?.0)));
    about.insert(key.clone());
    let guarded = entries::guards_of_service(known, name);
    let entries = entries::to_service(known, name);
    let at_doors = entries.iter().flat_map(|entry| &entry.guards);
    let by = guarded
        .iter()
        .chain(at_doors)
        .filter_map(|one| one.by.as_deref());
    let by = by.chain(entries.iter().map(|entry| entry.route.as_str()));
    about.extend(by.filter_map(|name| object_key(name).ok()));
    Some(ServiceExplained {
        object: key.to_string(),
        at: known.places.of(&key, ""),
        ports: (service.ports.iter())
            .map(|port| {
                let mut by = decided.tls.iter();
                let by = by.find(|(of, _)| *of == port.port && port.tls.is_some());
                described_port(port, by.map(|(_, key)| key), known)
            })
            .collect(),
        identities: service.identities.iter().map(ToString::to_string).collect(),
        workloads: decided
            .workloads
            .iter()
            .map(|key| named(known, key))
            .collect(),
        opaque,
        traffic: fields(known, decided.traffic),
        access: fields(known, decided.access),
        guards: guarded,
        entries,
        rules,
        conditions: conditions(known.compiled, |object, message| {
            about.contains(object) || message.contains(&format!("Service {name} "))
        }),
    })
}

/// `443 web (http, inside TLS for api.example)`, and who says so.
fn described_port(port: &ServicePort, by: Option<&ObjectKey>, known: Known<'_>) -> String {
    let tls = match port.tls.as_deref() {
        None => String::new(),
        Some(BackendTls::Refused(why)) => format!("; nothing is sent (503, flag UF): {why}"),
        Some(BackendTls::Verified(tls)) => {
            let roots = match &tls.roots {
                Roots::Web => "the public web's roots".to_owned(),
                Roots::Given(all) => match all.der().len() {
                    1 => "one CA certificate".to_owned(),
                    several => format!("{several} CA certificates"),
                },
            };
            let names: Vec<String> = tls
                .names
                .iter()
                .map(|name| match name {
                    AlternativeName::Dns(name) => name.to_string(),
                    AlternativeName::Uri(uri) => uri.clone(),
                })
                .collect();
            let names = match names.is_empty() {
                true => String::new(),
                false => format!(" as {}", names.join(" or ")),
            };
            format!(
                ", inside TLS for {}{names}, verified by {roots}",
                tls.hostname
            )
        }
    };
    let by = by.map(|key| {
        let at = known.places.of(key, "");
        let at = at.map(|at| format!(" ({at})")).unwrap_or_default();
        format!("  {key}{at}")
    });
    let spoken = spoken(port.protocol);
    let (number, name) = (port.port, &port.name);
    format!("{number} {name} ({spoken}{tls}){}", by.unwrap_or_default())
}

fn spoken(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Detect => "protocol detected",
        Protocol::Http1 => "http",
        Protocol::Http2 => "http2",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "opaque",
    }
}

/// Explains a route; `None`: nobody wrote it.
pub fn route(known: Known<'_>, key: &ObjectKey) -> Option<RouteExplained> {
    known.world.objects.get(key)?;
    let prefix = format!("{}/{}/{}/", key.kind, key.namespace, key.name);
    let is_own = |name: &str| name.starts_with(&prefix);
    let mut parents = Vec::new();
    let mut requests: Vec<&Route> = Vec::new();
    let mut connections: Vec<&StreamRoute> = Vec::new();
    for (name, service) in &known.compiled.services {
        let own = service.routes.iter().filter(|one| is_own(&one.name));
        let streams = service.streams.iter().filter(|one| is_own(&one.name));
        let before = requests.len() + connections.len();
        requests.extend(own);
        connections.extend(streams);
        if requests.len() + connections.len() > before {
            parents.push(format!("Service {name}"));
        }
    }
    for (name, gateway) in &known.compiled.gateways {
        for listener in &gateway.listeners {
            let own = listener.routes.iter().map(|one| &one.route);
            let own = own.filter(|one| is_own(&one.name));
            let streams = listener.streams.iter().filter(|one| is_own(&one.name));
            let before = requests.len() + connections.len();
            requests.extend(own);
            connections.extend(streams);
            if requests.len() + connections.len() > before {
                parents.push(format!("Gateway {name}, listener {}", listener.name));
            }
        }
    }
    let mut rules = rules(known, requests.into_iter());
    rules.extend(streams::rules(known, connections.into_iter()));
    Some(RouteExplained {
        object: key.to_string(),
        at: known.places.of(key, ""),
        parents,
        rules,
        entries: entries::of_route(known, &prefix),
        conditions: conditions(known.compiled, |object, _| object == key),
    })
}

/// Each rule once, with all its matches.
fn rules<'r>(known: Known<'_>, routes: impl Iterator<Item = &'r Route>) -> Vec<RuleExplained> {
    let mut told: Vec<(&str, RuleExplained)> = Vec::new();
    let lost = Lost::new(known);
    for route in routes {
        if let Some((_, rule)) = told.iter_mut().find(|(name, _)| *name == &*route.name) {
            let matches = described(&route.matches);
            lost.add((Some(route), matches), &mut rule.matches, &mut rule.taken);
            continue;
        }
        let (object, rule, at) = known.places.of_rule(&route.name).map_or_else(
            || (route.name.to_string(), String::new(), None),
            |(key, rule, at)| (key.to_string(), rule, at),
        );
        let number = known.places.number_of_rule(&route.name);
        let decided = number.map(|(key, number)| explain::rule(known.world, &key, number));
        let mut explained = RuleExplained {
            object,
            rule,
            at,
            callers: route.callers.as_ref().map(ToString::to_string),
            matches: Vec::new(),
            taken: Vec::new(),
            backends: route.backends.iter().map(backend).collect(),
            fields: fields(known, decided.unwrap_or_default()),
        };
        let (takes, taken) = (&mut explained.matches, &mut explained.taken);
        lost.add((Some(route), described(&route.matches)), takes, taken);
        told.push((&route.name, explained));
    }
    told.into_iter().map(|(_, rule)| rule).collect()
}

fn backend(backend: &Backend) -> String {
    let weight = backend.weight.get();
    match &backend.target {
        BackendTarget::Service(target) => format!("{weight} {}:{}", target.service, target.port),
        BackendTarget::Invalid(why) => {
            format!("{weight} nowhere (500, flag NC, backend-unresolvable): {why}")
        }
    }
}

fn fields(known: Known<'_>, decided: Vec<Decided>) -> Vec<Field> {
    let field = |decided: Decided| Field {
        at: decided.by.as_ref().and_then(|by| {
            // A route's rule says things in the route's own words.
            let path = match by.kind {
                Kind::TrafficPolicy
                | Kind::AccessPolicy
                | Kind::AuthenticationPolicy
                | Kind::Mesh => {
                    format!("spec.{}", decided.field)
                }
                Kind::RateLimitPolicy => "spec.limits".to_owned(),
                _ => String::new(),
            };
            known.places.of(by, &path)
        }),
        by: decided.by.map(|by| by.to_string()),
        field: decided.field,
        value: decided.value,
    };
    decided.into_iter().map(field).collect()
}

fn named(known: Known<'_>, key: &ObjectKey) -> Named {
    Named {
        object: key.to_string(),
        at: known.places.of(key, ""),
    }
}

fn conditions(compiled: &Compiled, concerns: impl Fn(&ObjectKey, &str) -> bool) -> Vec<String> {
    let findings = compiled.findings.iter();
    let concerning = findings.filter(|one| concerns(&one.object, &one.message));
    let line = |one: &crate::compile::Finding| {
        format!("{}: {}: {}", one.reason.as_str(), one.object, one.message)
    };
    concerning.map(line).collect()
}

#[cfg(test)]
mod tests;
