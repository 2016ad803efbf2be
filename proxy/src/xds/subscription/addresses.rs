//! Addresses that the application dials: each is asked for once, to learn which services it means.
//!
//! The services are then subscribed by their names like all others, and the address is dropped: from there on a
//! service's own addresses and those of its endpoints say what they mean. That an address means nobody holds for as
//! long as that a service does not exist, and for longer while there is no control plane to say otherwise: what the
//! application has outside the mesh is then told from what may be in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use usher_config::{
    value::ServiceName,
    wire::{
        discovery::{DeltaDiscoveryRequest, Resource},
        type_url,
    },
};

use super::{Asked, Effects, NEGATIVE_TTL, Resolution, Subscription, messages::change_of};

/// Before an address in the name of a service.
const PREFIX: &str = "addr/";

/// Addresses asked for at once; more are told [`Resolution::TimedOut`] at once.
const PENDING_MAX: usize = 1_000;

/// Answers remembered; the oldest goes first.
const ANSWERS_MAX: usize = 4_096;

/// How long a question may find no control plane before the next ones are not kept waiting: what the application
/// has outside the mesh must not become slow because the control plane is away.
const ALONE_MAX: Duration = Duration::from_secs(2);

/// What is asked and what was answered.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// The services that each means, as far as they have been named.
    pending: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
    answers: BTreeMap<IpAddr, Answer>,
    /// Since when questions have found no control plane.
    alone: Option<Instant>,
    /// There is somebody where nobody was, or the other way round.
    learnt: bool,
}

/// What an address means.
#[derive(Debug)]
struct Answer {
    /// Nobody, if there are none.
    services: BTreeSet<ServiceName>,
    until: Instant,
}

impl Addresses {
    /// The names to ask for, on a new stream.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.pending.keys().map(name)
    }

    fn remember(&mut self, address: IpAddr, services: BTreeSet<ServiceName>, now: Instant) {
        if self.answers.len() >= ANSWERS_MAX {
            let first = self.answers.iter().min_by_key(|(_, answer)| answer.until);
            if let Some(address) = first.map(|(address, _)| *address) {
                self.answers.remove(&address);
            }
        }
        let until = now + NEGATIVE_TTL;
        let nobody = services.is_empty();
        let before = self.answers.insert(address, Answer { services, until });
        self.learnt |= before.is_none_or(|before| before.services.is_empty() != nobody);
    }
}

impl Subscription {
    /// The application dials an address at which the snapshot knows nobody.
    pub fn ask_address(&mut self, address: IpAddr, now: Instant) -> Asked {
        let synchronised = self.is_synchronised();
        if let Some(Answer { services, until }) = self.addresses.answers.get(&address) {
            let known = &self.known.services;
            let all_there = services.iter().all(|service| known.contains_key(service));
            // A control plane that is away cannot have changed its mind.
            if all_there && (now < *until || !synchronised) {
                return Asked::Answered(if services.is_empty() {
                    Resolution::Unknown
                } else {
                    Resolution::Found
                });
            }
        }
        if !synchronised {
            let since = *self.addresses.alone.get_or_insert(now);
            if now.saturating_duration_since(since) > ALONE_MAX {
                return Asked::Answered(Resolution::TimedOut);
            }
        }
        let pending = &mut self.addresses.pending;
        if pending.contains_key(&address) {
            return Asked::Waits(Vec::new());
        }
        if pending.len() >= PENDING_MAX {
            return Asked::Answered(Resolution::TimedOut);
        }
        pending.insert(address, BTreeSet::new());
        if self.stream.is_none() {
            return Asked::Waits(Vec::new());
        }
        let question = change_of(type_url::SERVICE, vec![name(&address)], Vec::new());
        Asked::Waits(self.introduce(vec![question]))
    }

    /// The control plane has named a service that an address means: it is wanted as if it had been dialled.
    pub(super) fn note_meaning(&mut self, type_url: &str, resource: &Resource, now: Instant) {
        if type_url != type_url::SERVICE || resource.aliases.is_empty() {
            return;
        }
        let Ok(service) = resource.name.parse::<ServiceName>() else {
            return;
        };
        for address in resource.aliases.iter().filter_map(|alias| address(alias)) {
            if let Some(services) = self.addresses.pending.get_mut(&address) {
                services.insert(service.clone());
                self.interest.used(&service, now);
            }
        }
    }

    /// The control plane has said that a name means nothing.
    pub(super) fn note_nobody(&mut self, removed: &str, now: Instant, effects: &mut Effects) {
        if let Some(address) = address(removed)
            && self.addresses.pending.remove(&address).is_some()
        {
            self.addresses.remember(address, BTreeSet::new(), now);
            self.answer_address(address, Resolution::Unknown, effects);
        }
    }

    /// Whether [`Self::nobodys`] are others than at the last call.
    pub(in crate::xds) fn learnt_of_addresses(&mut self) -> bool {
        std::mem::take(&mut self.addresses.learnt)
    }

    /// Addresses at which nobody of the mesh was when they were last asked for.
    pub(in crate::xds) fn nobodys(&self) -> impl Iterator<Item = String> {
        let answers = self.addresses.answers.iter();
        let nobodys = answers.filter(|(_, answer)| answer.services.is_empty());
        nobodys.map(|(address, _)| name(address))
    }

    /// One of them, as an earlier run knew it.
    pub(in crate::xds) fn restore_nobody(&mut self, name: &str, now: Instant) {
        if let Some(address) = address(name) {
            self.addresses.remember(address, BTreeSet::new(), now);
        }
    }

    /// A batch is in: answers the questions whose services have all arrived, or turned out not to be there.
    pub(super) fn conclude_addresses(&mut self, now: Instant, effects: &mut Effects) {
        self.addresses.alone = None;
        let (known, unknown) = (&self.known.services, &self.unknown);
        let is_decided =
            |service: &ServiceName| known.contains_key(service) || unknown.contains_key(service);
        let decided: Vec<(IpAddr, bool)> = self
            .addresses
            .pending
            .iter()
            .filter(|(_, services)| !services.is_empty() && services.iter().all(is_decided))
            .map(|(address, services)| {
                let all_there = services.iter().all(|service| known.contains_key(service));
                (*address, all_there)
            })
            .collect();
        for (address, all_there) in decided {
            let services = self.addresses.pending.remove(&address).unwrap_or_default();
            if all_there {
                self.addresses.remember(address, services, now);
                self.answer_address(address, Resolution::Found, effects);
            } else {
                // Somebody is there, but what was said of them cannot be used: that is no leave to take them for nobody.
                self.answer_address(address, Resolution::TimedOut, effects);
            }
        }
    }

    fn answer_address(&mut self, address: IpAddr, resolution: Resolution, effects: &mut Effects) {
        effects.addresses.push((address, resolution));
        let no_more: DeltaDiscoveryRequest =
            change_of(type_url::SERVICE, Vec::new(), vec![name(&address)]);
        effects.requests.push(no_more);
    }
}

fn name(address: &IpAddr) -> String {
    format!("{PREFIX}{address}")
}

fn address(name: &str) -> Option<IpAddr> {
    name.strip_prefix(PREFIX)?.parse().ok()
}
