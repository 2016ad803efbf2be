//! A snapshot as one proxy may see it: what a subscribed name means.

use std::{net::IpAddr, sync::Arc};

use usher_config::value::SpiffeId;

use crate::snapshot::{EndpointSet, Resource, Snapshot, Understands};

use super::{super::Topic, ALL};

/// Before an address in the name of a service: `addr/240.240.0.7`. A namespace may have that name too, but no service
/// the name of an address.
const ADDRESS: &str = "addr/";

/// A snapshot as one proxy may see it.
pub(super) struct View<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) identity: &'a SpiffeId,
    /// Of what guards a service.
    pub(super) understands: Understands,
}

/// What a name means.
pub(super) enum Found<'a> {
    One(&'a str, &'a Resource),
    Set(&'a EndpointSet),
    /// By an address: one, or several services of one instance.
    Meant(Vec<(&'a str, &'a Resource)>),
    Nothing,
}

impl<'a> View<'a> {
    pub(super) fn lookup(&self, topic: Topic, name: &str) -> Found<'a> {
        let configured = &self.snapshot.configured;
        match topic {
            Topic::TrustBundle => match &self.snapshot.trust_bundle {
                Some((domain, resource)) if name == ALL || name == &**domain => {
                    Found::One(domain, resource)
                }
                _ => Found::Nothing,
            },
            Topic::InboundPolicy | Topic::Gateway if !self.snapshot.may_be(self.identity, name) => {
                Found::Nothing
            }
            Topic::Gateway => {
                let closed = configured.for_old.gateway(name, self.understands);
                one(closed.or_else(|| configured.gateways.get_key_value(name)))
            }
            Topic::InboundPolicy => {
                let closed = configured.for_old.inbound(name, self.understands);
                one(closed.or_else(|| configured.inbound.get_key_value(name)))
            }
            Topic::Service => match address(name) {
                Some(address) => self.at(address),
                None => one(configured.services.get_key_value(name)),
            },
            Topic::Endpoint => match name
                .strip_suffix("/*")
                .map(|name| self.snapshot.endpoints.get(name))
            {
                Some(Some(endpoints)) => Found::Set(endpoints),
                _ => Found::Nothing,
            },
        }
    }

    fn at(&self, address: IpAddr) -> Found<'a> {
        let names = self.snapshot.services_at(address);
        let services = &self.snapshot.configured.services;
        let found = names.iter().filter_map(|name| services.get_key_value(name));
        let found: Vec<_> = found.map(|(name, resource)| (&**name, resource)).collect();
        if found.is_empty() {
            Found::Nothing
        } else {
            Found::Meant(found)
        }
    }

    /// A control plane that has just started does not take away what it may merely not know yet.
    pub(super) fn spares(&self, name: &str) -> bool {
        self.snapshot.settling && !self.snapshot.withdrawn.contains(name)
    }
}

/// Other spellings of an address would be other names for the same.
fn address(name: &str) -> Option<IpAddr> {
    let text = name.strip_prefix(ADDRESS)?;
    let address: IpAddr = text.parse().ok()?;
    (address.to_string() == text).then_some(address)
}

fn one<'a>(entry: Option<(&'a Arc<str>, &'a Resource)>) -> Found<'a> {
    entry.map_or(Found::Nothing, |(name, resource)| {
        Found::One(name, resource)
    })
}
