//! The resources this sidecar holds, with their versions; and a batch on its way in.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use usher_config::{
    model::{Endpoint, Gateway, InboundPolicy, Revision, Service, TrustBundle},
    value::{InstanceName, ServiceName},
    wire::{discovery::Resource, type_url, v1},
};

use crate::snapshot::Change;

/// A decoded resource and the version under which it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Versioned<T> {
    pub(super) version: String,
    pub(super) model: T,
}

/// One resource of any type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Received {
    Service(Versioned<Service>),
    Endpoint(Versioned<Endpoint>),
    InboundPolicy(Versioned<InboundPolicy>),
    Gateway(Versioned<Gateway>),
    TrustBundle(Versioned<TrustBundle>),
    Revision(Revision),
}

impl Received {
    /// Total: anything that is not exactly a resource of `type_url`, named as its content, is a text for the NACK.
    pub(super) fn decode(type_url: &str, resource: &Resource) -> Result<Self, String> {
        let any = resource.resource.as_ref().ok_or("no content")?;
        if any.type_url != type_url {
            return Err(format!(
                "content is a {}, announced is {type_url}",
                any.type_url
            ));
        }
        let (body, version) = (any.value.as_slice(), resource.version.clone());
        let received = match type_url {
            type_url::SERVICE => {
                let model = decode::<v1::Service, Service>(body)?;
                named(resource, &model.name)?;
                Self::Service(Versioned { version, model })
            }
            type_url::ENDPOINT => {
                let model = decode::<v1::Endpoint, Endpoint>(body)?;
                named(resource, &model.name)?;
                Self::Endpoint(Versioned { version, model })
            }
            type_url::INBOUND_POLICY => {
                let model = decode::<v1::InboundPolicy, InboundPolicy>(body)?;
                named(resource, &model.service)?;
                Self::InboundPolicy(Versioned { version, model })
            }
            type_url::GATEWAY => {
                let model = decode::<v1::Gateway, Gateway>(body)?;
                named(resource, &model.name)?;
                Self::Gateway(Versioned { version, model })
            }
            type_url::TRUST_BUNDLE => {
                let model = decode::<v1::TrustBundle, TrustBundle>(body)?;
                named(resource, &model.trust_domain)?;
                Self::TrustBundle(Versioned { version, model })
            }
            type_url::REVISION => Self::Revision(decode::<v1::Revision, Revision>(body)?),
            other => return Err(format!("{other} is not a type of this protocol")),
        };
        Ok(received)
    }
}

fn decode<W, M>(body: &[u8]) -> Result<M, String>
where
    W: Message + Default,
    M: TryFrom<W, Error: ToString>,
{
    let message = W::decode(body).map_err(|error| error.to_string())?;
    M::try_from(message).map_err(|error| error.to_string())
}

fn named(resource: &Resource, name: &impl ToString) -> Result<(), String> {
    let name = name.to_string();
    if resource.name == name {
        Ok(())
    } else {
        Err(format!("content is named {name}"))
    }
}

/// A batch, until its `Revision` makes it count. `None`: taken back.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) services: BTreeMap<ServiceName, Option<Versioned<Service>>>,
    pub(super) endpoints: BTreeMap<InstanceName, Option<Versioned<Endpoint>>>,
    pub(super) inbound: Option<Versioned<InboundPolicy>>,
    pub(super) gateway: Option<Option<Versioned<Gateway>>>,
    pub(super) trust: Option<Versioned<TrustBundle>>,
    pub(super) revision: Option<Revision>,
}

/// What counts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Known {
    pub(super) services: BTreeMap<ServiceName, Versioned<Service>>,
    pub(super) endpoints: BTreeMap<InstanceName, Versioned<Endpoint>>,
    pub(super) inbound: Option<Versioned<InboundPolicy>>,
    pub(super) gateway: Option<Versioned<Gateway>>,
    pub(super) trust: Option<Versioned<TrustBundle>>,
    pub(super) revision: Option<Revision>,
}

impl Known {
    /// Takes the batch in; says what that changes for requests. Endpoints may have come before their service: the
    /// snapshot has no place for them until then, so a new service brings all of its endpoints along.
    pub(super) fn commit(&mut self, staged: Staged) -> Change {
        let mut change = Change {
            revision: staged.revision.clone(),
            ..Change::default()
        };
        let mut endpoints: BTreeMap<InstanceName, Option<Endpoint>> = BTreeMap::new();
        for (name, endpoint) in staged.endpoints {
            endpoints.insert(
                name.clone(),
                endpoint.as_ref().map(|endpoint| endpoint.model.clone()),
            );
            match endpoint {
                Some(endpoint) => self.endpoints.insert(name, endpoint),
                None => self.endpoints.remove(&name),
            };
        }
        for (name, service) in staged.services {
            change.services.push((
                name.clone(),
                service.as_ref().map(|service| service.model.clone()),
            ));
            match service {
                Some(service) => {
                    if self.services.insert(name.clone(), service).is_none() {
                        let all = self.endpoints_of(&name);
                        endpoints
                            .extend(all.map(|(name, e)| (name.clone(), Some(e.model.clone()))));
                    }
                }
                None => {
                    self.services.remove(&name);
                }
            }
        }
        change.endpoints = endpoints.into_iter().collect();
        if let Some(inbound) = staged.inbound {
            change.inbound = Some(inbound.model.clone());
            self.inbound = Some(inbound);
        }
        if let Some(gateway) = staged.gateway {
            change.gateway = Some(gateway.as_ref().map(|gateway| gateway.model.clone()));
            self.gateway = gateway;
        }
        if let Some(trust) = staged.trust {
            change.trust = Some(trust.model.clone());
            self.trust = Some(trust);
        }
        self.revision = staged.revision.or(self.revision.take());
        change
    }

    pub(super) fn endpoints_of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = (&'a InstanceName, &'a Versioned<Endpoint>)> {
        self.endpoints
            .iter()
            .filter(move |(name, _)| name.service == *service)
    }

    /// Drops every service not in `wanted`, with its endpoints.
    pub(super) fn retain(
        &mut self,
        wanted: &BTreeSet<ServiceName>,
    ) -> Vec<(ServiceName, Option<Service>)> {
        self.endpoints
            .retain(|name, _| wanted.contains(&name.service));
        let gone: Vec<ServiceName> = self
            .services
            .keys()
            .filter(|name| !wanted.contains(*name))
            .cloned()
            .collect();
        for name in &gone {
            self.services.remove(name);
        }
        gone.into_iter().map(|name| (name, None)).collect()
    }

    /// Names and versions of one type, for `initial_resource_versions`.
    pub(super) fn versions(&self, type_url: &str) -> Vec<(String, String)> {
        fn pair<T>(name: &impl ToString, held: &Versioned<T>) -> (String, String) {
            (name.to_string(), held.version.clone())
        }
        match type_url {
            type_url::SERVICE => self
                .services
                .iter()
                .map(|(name, held)| pair(name, held))
                .collect(),
            type_url::ENDPOINT => self
                .endpoints
                .iter()
                .map(|(name, held)| pair(name, held))
                .collect(),
            type_url::INBOUND_POLICY => self
                .inbound
                .iter()
                .map(|held| pair(&held.model.service, held))
                .collect(),
            type_url::GATEWAY => self
                .gateway
                .iter()
                .map(|held| pair(&held.model.name, held))
                .collect(),
            type_url::TRUST_BUNDLE => self
                .trust
                .iter()
                .map(|held| pair(&held.model.trust_domain, held))
                .collect(),
            _ => Vec::new(),
        }
    }
}
