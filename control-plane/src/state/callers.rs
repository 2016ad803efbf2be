//! Who calls services without the mesh's TLS: heard with registrations and renewals, shown to operators.

use std::{collections::BTreeSet, net::IpAddr, time::SystemTime};

use usher_config::{
    model::MtlsMode,
    value::{ServiceName, SpiffeId},
};

use crate::{
    clock,
    registry::callers::{Caller, moment},
    snapshot::Snapshot,
    status::{CallerReport, CallersSummary, count},
};

use super::{Registry, State, configuration::Configuration, lock};

/// How many services are named.
const NAMED_MAX: usize = 100;

impl State {
    /// All callers, by service and who was seen last.
    pub fn callers(&self) -> Vec<CallerReport> {
        let services: Vec<ServiceName> = {
            let registry = lock(&self.0.registry);
            registry.callers.services().cloned().collect()
        };
        self.callers_of(&services, |_| true)
    }

    /// Some of those of some services.
    pub(super) fn callers_of<'s>(
        &self,
        services: impl IntoIterator<Item = &'s ServiceName>,
        wanted: impl Fn(&Caller) -> bool,
    ) -> Vec<CallerReport> {
        let configuration = self.0.configuration.load();
        let snapshot = self.0.snapshots.borrow().clone();
        let now = SystemTime::now();
        // Nothing is made into text while renewals wait for the lock.
        let found: Vec<(ServiceName, Caller, Option<SpiffeId>)> = {
            let registry = lock(&self.0.registry);
            let of = |service: &ServiceName| {
                let of = registry.callers.of(service, now).into_iter();
                let of = of.filter(|caller| wanted(caller));
                let named = of.map(|caller| {
                    let workload = registry.workload_at(&snapshot, caller.address);
                    (service.clone(), caller, workload.cloned())
                });
                named.collect::<Vec<_>>()
            };
            services.into_iter().flat_map(of).collect()
        };
        let found = found.iter();
        found
            .map(|(service, caller, workload)| {
                reported(&configuration, service, caller, workload.as_ref())
            })
            .collect()
    }
}

impl State {
    /// How many there are, and of which services.
    pub(super) fn callers_summary(&self) -> CallersSummary {
        let registry = lock(&self.0.registry);
        let (mut callers, mut services) = (0, Vec::new());
        for (service, count) in registry.callers.counts(SystemTime::now()) {
            callers += count;
            if services.len() < NAMED_MAX {
                services.push(service.to_string());
            }
        }
        CallersSummary {
            callers: count(callers),
            services,
        }
    }
}

impl Registry {
    /// Who is registered at an address that is proven to be its own; `None`: nobody, or it is one of several.
    fn workload_at(&self, snapshot: &Snapshot, address: IpAddr) -> Option<&SpiffeId> {
        if address.is_loopback() {
            return None;
        }
        let services = snapshot.services_at(address).iter();
        let services = services.filter_map(|name| name.parse::<ServiceName>().ok());
        let here: Vec<ServiceName> = services.collect();
        let instances = here.iter().flat_map(|service| self.instances.of(service));
        let here = instances.filter(|(_, instance)| {
            instance.address_is_own && instance.address.ip().to_canonical() == address
        });
        let identities: BTreeSet<&SpiffeId> = here.map(|(_, one)| &one.identity).collect();
        match identities.first() {
            Some(only) if identities.len() == 1 => Some(only),
            Some(_) | None => None,
        }
    }
}

fn reported(
    configuration: &Configuration,
    service: &ServiceName,
    caller: &Caller,
    workload: Option<&SpiffeId>,
) -> CallerReport {
    let time = |at| clock::text(moment(at));
    let inbound = configuration.compiled.inbound.get(service);
    let mode = inbound.map_or("", |inbound| match inbound.mtls {
        MtlsMode::Permissive => "Permissive",
        MtlsMode::Strict => "Strict",
    });
    let workload = workload.map(|id| format!("{}/{}", id.namespace, id.service_account));
    CallerReport {
        namespace: service.namespace.to_string(),
        service: service.name.to_string(),
        port: caller.port,
        mode: mode.to_owned(),
        address: caller.address,
        workload: workload.unwrap_or_default(),
        first_seen: time(caller.first),
        last_seen: time(caller.last),
        last_refused: caller.refused.map(time).unwrap_or_default(),
        let_in: caller.is_let_in(),
    }
}
