//! What would happen to a request, and why: answered from compiled configuration, without anybody sending one.
//!
//! Pure, and by the code that sidecars run themselves (`usher_config::decide`); around it only what their stories do in
//! between. What depends on the living mesh (who is there, which breaker is open) is not answered here.

pub mod access;
pub mod diff;
pub mod explain;
mod names;
pub mod route;

use std::collections::BTreeMap;

use usher_config::{
    kind::{Kind, Object, ObjectKey, StreamRule},
    parse::{Located, Parsed},
    value::{Name, ServiceName, SpiffeId},
};

use crate::compile::{Compiled, rule_of};

pub use names::find;

/// Whom a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `namespace/name`, or an identity.
    pub name: String,
    /// Whose consumer routes it follows.
    pub namespace: Name,
    /// What its sidecar would prove.
    pub identity: SpiffeId,
}

impl Caller {
    /// A workload or service by its name, with or without namespace; or somebody by SPIFFE ID.
    ///
    /// # Errors
    /// A line that says what there is.
    pub fn named(compiled: &Compiled, text: &str) -> Result<Self, String> {
        if text.starts_with("spiffe://") {
            let identity: SpiffeId = text.parse().map_err(|error| format!("{error}"))?;
            if identity.trust_domain != compiled.trust_domain {
                return Err(format!(
                    "{text} is of another trust domain than this mesh ({}): its certificate is believed by nobody here, and \
                     refused in the handshake",
                    compiled.trust_domain
                ));
            }
            return Ok(Self {
                name: text.to_owned(),
                namespace: identity.namespace.clone(),
                identity,
            });
        }
        let name = find(
            compiled.backing.keys(),
            text,
            "workload or service with workloads",
        )?;
        let mut accounts = compiled.backing.get(name).into_iter().flatten();
        let (first, second) = (accounts.next(), accounts.next());
        match (first, second) {
            (Some(backing), None) => Ok(Self {
                name: name.to_string(),
                namespace: name.namespace.clone(),
                identity: backing.identity.clone(),
            }),
            (Some(one), Some(other)) => Err(format!(
                "{name} may run as {}, {} …: say which",
                one.identity, other.identity
            )),
            (None, _) => Err(format!("no workload may be {name}")),
        }
    }
}

/// Where objects are written.
#[derive(Debug, Default)]
pub struct Places<'p>(BTreeMap<ObjectKey, &'p Located>);

impl<'p> Places<'p> {
    /// Of what was parsed.
    pub fn new(parsed: &'p Parsed) -> Self {
        let objects = parsed.objects.iter().map(|located| &**located);
        let by_key = objects.map(|located| (located.object.key(), located));
        Self(by_key.collect())
    }

    /// `file:line` of a field of an object; of the object, if the field is not written.
    pub fn of(&self, key: &ObjectKey, field: &str) -> Option<String> {
        let located = self.0.get(key)?;
        let line = located.positions.of(field).line.max(located.line);
        Some(format!("{}:{line}", located.file.display()))
    }

    /// A rule of a route by the name that the model has for it, `kind/namespace/name/rule`: its object, the rule's place in
    /// it, and where that is written.
    pub fn of_rule(&self, label: &str) -> Option<(ObjectKey, String, Option<String>)> {
        let (key, rule) = rule_of(label)?;
        let number = self
            .0
            .get(&key)
            .and_then(|located| number_of(located, rule));
        let field = number.map_or_else(String::new, |number| format!("spec.rules[{number}]"));
        let at = self.of(&key, &field);
        Some((key, rule.to_owned(), at))
    }

    /// Its object, and the number of the rule there.
    pub fn number_of_rule(&self, label: &str) -> Option<(ObjectKey, usize)> {
        let (key, rule) = rule_of(label)?;
        let number = number_of(self.0.get(&key)?, rule)?;
        Some((key, number))
    }
}

/// Rules are called by their name, else by their number.
fn number_of(located: &Located, rule: &str) -> Option<usize> {
    let names: Vec<Option<&Name>> = match &located.object {
        Object::HttpRoute(route) => route
            .spec
            .rules
            .iter()
            .map(|rule| rule.name.as_ref())
            .collect(),
        Object::GrpcRoute(route) => route
            .spec
            .rules
            .iter()
            .map(|rule| rule.name.as_ref())
            .collect(),
        Object::TlsRoute(route) => names_of(&route.spec.rules),
        Object::TcpRoute(route) => names_of(&route.spec.rules),
        _ => return None,
    };
    let named = names
        .iter()
        .position(|name| name.is_some_and(|name| name.as_str() == rule));
    named.or_else(|| rule.trim_start_matches('#').parse().ok())
}

fn names_of(rules: &[StreamRule]) -> Vec<Option<&Name>> {
    rules.iter().map(|rule| rule.name.as_ref()).collect()
}

/// The object of a policy that the model calls `namespace/name`.
fn policy(kind: Kind, name: &str) -> Option<ObjectKey> {
    let ServiceName { namespace, name } = name.parse().ok()?;
    Some(ObjectKey {
        kind,
        namespace,
        name,
    })
}
