//! Keeps the subscription what is wanted: the roots, what they lead to, and nothing else.

use std::{collections::BTreeSet, time::Instant};

use usher_config::{
    model::{Revision, Service},
    value::ServiceName,
    wire::{discovery::DeltaDiscoveryRequest, type_url},
};

use super::{
    Effects, Key, NEGATIVE_TTL, Resolution, Subscription,
    messages::{change_of, every_endpoint},
};
use crate::{snapshot::Change, xds::known::Staged};

impl Subscription {
    /// The control plane of this stream has said everything: what it has not, it does not have.
    pub(super) fn is_synchronised(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.synchronised)
    }

    /// A new stream's first batch: a later revision than ours comes from the configuration that ours came from, and what it
    /// lacks was deleted. The same or an earlier one may come from a control plane that has lost its store.
    pub(super) fn believe(&mut self, staged: &mut Staged) {
        let number = |revision: &Option<Revision>| revision.as_ref().map(|known| known.number);
        let is_later = number(&staged.revision) > number(&self.known.revision);
        if self.is_synchronised() || self.known.revision.is_none() || !is_later {
            return;
        }
        self.missing.retain(|key, _| {
            match key {
                Key::Service(name) => drop(staged.services.entry(name.clone()).or_insert(None)),
                Key::Gateway => drop(staged.gateway.get_or_insert(None)),
                Key::Endpoint(_) => return true,
            }
            false
        });
    }

    pub(super) fn synchronise(&mut self, now: Instant) {
        if let Some(stream) = &mut self.stream
            && !stream.synchronised
        {
            stream.synchronised = true;
            // What idled while nobody could be asked has its time again.
            self.interest.used_all(now);
        }
    }

    /// Makes the subscription what is wanted: asks for what is new, drops what nobody needs any more.
    pub(super) fn reconcile(&mut self) -> Effects {
        let wanted = self.wanted();
        let services = self.known.retain(&wanted);
        self.unknown.retain(|name, _| wanted.contains(name));
        self.missing.retain(|key, _| match key {
            Key::Service(name) => wanted.contains(name),
            Key::Endpoint(name) => wanted.contains(&name.service),
            Key::Gateway => true,
        });
        self.staged.services.retain(|name, _| wanted.contains(name));
        self.staged
            .endpoints
            .retain(|name, _| wanted.contains(&name.service));
        let change = (!services.is_empty()).then(|| Change {
            services,
            ..Change::default()
        });
        let requests = if self.stream.is_some() {
            self.resubscribe(wanted)
        } else {
            Vec::new()
        };
        Effects {
            change,
            requests,
            ..Effects::default()
        }
    }

    fn resubscribe(&mut self, wanted: BTreeSet<ServiceName>) -> Vec<DeltaDiscoveryRequest> {
        let added: Vec<&ServiceName> = wanted.difference(&self.subscribed).collect();
        let dropped: Vec<&ServiceName> = self.subscribed.difference(&wanted).collect();
        if added.is_empty() && dropped.is_empty() {
            return Vec::new();
        }
        let endpoints = change_of(
            type_url::ENDPOINT,
            added.iter().map(|name| every_endpoint(name)).collect(),
            dropped.iter().map(|name| every_endpoint(name)).collect(),
        );
        let services = change_of(
            type_url::SERVICE,
            added.iter().map(ToString::to_string).collect(),
            dropped.iter().map(ToString::to_string).collect(),
        );
        self.subscribed = wanted;
        self.introduce(vec![endpoints, services])
    }

    /// What has arrived counts here even before its `Revision`: the sooner we ask for a fallback, the better.
    pub(super) fn wanted(&self) -> BTreeSet<ServiceName> {
        self.interest.wanted(|name| -> Option<&Service> {
            match self.staged.services.get(name) {
                Some(Some(staged)) => Some(&staged.model),
                Some(None) | None => self.known.services.get(name).map(|known| &known.model),
            }
        })
    }

    /// The first request on a stream names the node.
    pub(super) fn introduce(
        &mut self,
        mut requests: Vec<DeltaDiscoveryRequest>,
    ) -> Vec<DeltaDiscoveryRequest> {
        if let (Some(stream), Some(first)) = (&mut self.stream, requests.first_mut())
            && !stream.introduced
        {
            stream.introduced = true;
            first.node = Some(self.node.clone());
        }
        requests
    }

    /// The control plane has no such thing: whoever waits for it need not.
    pub(super) fn not_there(
        &mut self,
        type_url: &str,
        name: &str,
        now: Instant,
        answers: &mut Vec<(ServiceName, Resolution)>,
    ) {
        let Ok(service) = name.parse::<ServiceName>() else {
            return;
        };
        let known = self.known.services.contains_key(&service);
        if type_url == type_url::SERVICE && !known && self.subscribed.contains(&service) {
            self.staged.services.remove(&service);
            self.unknown.insert(service.clone(), now + NEGATIVE_TTL);
            answers.push((service, Resolution::Unknown));
        }
    }
}
