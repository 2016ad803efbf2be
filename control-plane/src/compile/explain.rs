//! Which object decided what: every field of a treatment with its value, and who said so.
//!
//! Layers are laid over one another as [`traffic::resolve`] does it, and a field is the narrowest layer's that has it. Not
//! kept while compiling: only people ask, and they ask about one service.

use serde_json::Value;
use usher_config::{
    kind::{AuthenticationMode, Breaker, Ejection, Kind, ObjectKey, TrafficPolicySpec},
    model::Authentication,
    value::{Port, ServiceName, parse_duration},
};

use crate::registry::World;

use super::{
    access, faults,
    index::Index,
    routes::{layers_of_route, targets_of_route},
    services,
    targets::{Target, Targets},
    traffic::{self, Layer},
    written::written,
};

/// A field, and who decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// As in YAML, without `spec.`: `timeouts.request`.
    pub field: String,
    /// As in YAML, on one line.
    pub value: String,
    /// `None`: nobody, it is the default.
    pub by: Option<ObjectKey>,
}

/// How a service is called, protected and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDecided {
    /// TrafficPolicies' fields, for requests that no route takes.
    pub traffic: Vec<Decided>,
    /// AccessPolicies' fields.
    pub access: Vec<Decided>,
    /// Workloads behind it.
    pub workloads: Vec<ObjectKey>,
    /// Which policy says inside which TLS a port is called, by the port's number.
    pub tls: Vec<(Port, ObjectKey)>,
}

/// Of a service; nothing but defaults for one that does not exist.
pub fn service(world: &World, name: &ServiceName) -> ServiceDecided {
    let mut ignored = Vec::new();
    let index = Index::new(world, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let mut traffic = traffic_fields(&traffic::layers_of_service(&targets, name));
    traffic.extend(fault(&targets, &[Target::Service(name.clone())]));
    let access = access::deciders(&index, &targets, name).into_iter();
    let access = access.map(|(field, value, by)| Decided {
        field: field.to_owned(),
        value,
        by,
    });
    let ports = index.services.get(name).into_iter().flat_map(|service| {
        let ports = service.spec.ports.iter();
        ports.filter_map(|port| Some((port.port, targets.tls_holder(service, port)?.clone())))
    });
    let tls = ports.collect();
    let workloads = index.services.get(name);
    let workloads = workloads.map(|service| services::workloads(&index, service));
    ServiceDecided {
        traffic,
        access: access.collect(),
        workloads: workloads.unwrap_or_default(),
        tls,
    }
}

/// What a rule of a route, by number, says about the treatment of its requests, itself and by policies that target it:
/// on top of what holds for the service.
pub fn rule(world: &World, route: &ObjectKey, number: usize) -> Vec<Decided> {
    let mut ignored = Vec::new();
    let index = Index::new(world, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let all = written(&index, &mut ignored);
    let found = all.iter().find(|written| written.key == route);
    let Some(rule) = found.and_then(|written| written.rules.get(number)) else {
        return Vec::new();
    };
    let mut told = traffic_fields(&layers_of_route(&targets, route, rule));
    // A default is the service's matter.
    told.retain(|decided| decided.by.is_some());
    told.extend(fault(&targets, &targets_of_route(route, rule)));
    told
}

/// Where requests arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door<'n> {
    /// At a service's own sidecars.
    Service(&'n ServiceName),
    /// At a gateway.
    Gateway(&'n ServiceName),
    /// At a gateway, taken by a rule, by number, of a route.
    Rule(&'n ServiceName, ObjectKey, usize),
}

/// Who decided whether a request needs a token there: the narrowest AuthenticationPolicy that says what holds. Nobody: the
/// widest of them, by saying nothing.
pub fn mode_by(world: &World, door: &Door<'_>, tokens: &Authentication) -> Option<ObjectKey> {
    let mut ignored = Vec::new();
    let index = Index::new(world, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let wide_to_narrow = match door {
        Door::Service(name) => vec![
            Target::Mesh,
            Target::Namespace(name.namespace.clone()),
            Target::Service((*name).clone()),
        ],
        Door::Gateway(name) => vec![Target::Gateway((*name).clone())],
        Door::Rule(name, route, number) => {
            let mut all = vec![Target::Gateway((*name).clone())];
            let routes = written(&index, &mut ignored);
            let found = routes.iter().find(|written| written.key == route);
            let rule = found.and_then(|written| written.rules.get(*number));
            all.extend(
                rule.into_iter()
                    .flat_map(|rule| targets_of_route(route, rule)),
            );
            all
        }
    };
    let held = wide_to_narrow.iter();
    let held = held.filter_map(|target| targets.authentication(target));
    let held: Vec<_> = held.collect();
    let holds = match tokens.required {
        true => AuthenticationMode::Required,
        false => AuthenticationMode::Optional,
    };
    let said = held.iter().rev().find(|one| one.spec.mode == Some(holds));
    let by = said.or(held.first())?;
    Some(ObjectKey {
        kind: Kind::AuthenticationPolicy,
        namespace: by.metadata.namespace.clone(),
        name: by.metadata.name.clone(),
    })
}

fn fault(targets: &Targets<'_>, wide_to_narrow: &[Target]) -> Option<Decided> {
    let by = faults::held_by(targets, wide_to_narrow)?;
    Some(Decided {
        field: "fault".to_owned(),
        value: "some requests are delayed or aborted until it expires".to_owned(),
        by: Some(by),
    })
}

/// All fields that are set when these layers, widest first, lie over the defaults.
pub(super) fn traffic_fields(layers: &[Layer<'_>]) -> Vec<Decided> {
    let whole = layers
        .iter()
        .fold(TrafficPolicySpec::default(), |wider, layer| {
            layer.spec.over(&wider)
        });
    let mut whole = whole.over(&TrafficPolicySpec::defaults());
    // Whoever writes a breaker, even an empty one, gets a whole one.
    whole.breaker = whole
        .breaker
        .map(|breaker| breaker.over(&Breaker::defaults()));
    whole.ejection = whole
        .ejection
        .map(|ejection| ejection.over(&Ejection::defaults()));
    let said: Vec<(Value, &ObjectKey)> = layers
        .iter()
        .map(|layer| (fields(&layer.spec), &layer.object))
        .collect();
    let mut leaves = Vec::new();
    collect(&fields(&whole), String::new(), &mut leaves);
    let decided = leaves.into_iter().map(|(field, value)| {
        // A fallback is taken whole: what the narrowest leaves out is nobody's.
        let asked = if field.starts_with("fallback.") {
            "fallback"
        } else {
            &field
        };
        let by = said
            .iter()
            .rev()
            .find(|(spec, _)| at(spec, asked).is_some());
        Decided {
            value: shown(&value),
            by: by.map(|(_, object)| (*object).clone()),
            field,
        }
    });
    let mut decided: Vec<Decided> = decided.collect();
    for (floor, ceiling) in RAISED {
        raise(&mut decided, floor, ceiling);
    }
    decided
}

/// Bounds that are raised to another field where they are below it.
const RAISED: [(&str, &str); 3] = [
    ("retry.backoff.base", "retry.backoff.max"),
    ("ejection.base", "ejection.max"),
    ("breaker.openFor", "breaker.maxOpenFor"),
];

fn raise(decided: &mut [Decided], floor: &str, ceiling: &str) {
    let duration = |decided: &Decided| parse_duration(&decided.value).unwrap_or_default();
    let low = decided.iter().find(|one| one.field == floor).cloned();
    let high = decided.iter_mut().find(|one| one.field == ceiling);
    if let (Some(low), Some(high)) = (low, high)
        && duration(&low) > duration(high)
    {
        (high.value, high.by) = (low.value, low.by);
    }
}

fn fields(spec: &TrafficPolicySpec) -> Value {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("targetRefs");
    }
    value
}

/// What is not a mapping, with its path; nothing that is `null`.
fn collect(value: &Value, path: String, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(value, below, leaves);
            }
        }
        other => leaves.push((path, other.clone())),
    }
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let found = path
        .split('.')
        .try_fold(value, |value, name| value.get(name))?;
    (!found.is_null()).then_some(found)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
