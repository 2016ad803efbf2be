//! What operators see of the state.

mod led;
mod outdated;
mod shown;
mod stale;
mod stranded;

use std::{collections::BTreeMap, time::SystemTime};

use usher_config::value::{InstanceName, ServiceName};

use crate::{
    clock,
    compile::Compiled,
    registry::{
        history,
        shared::Health,
        store::{CHANGED_MAX, Origin, RevisionRecord},
    },
    snapshot::present,
    status::{
        Condition, EndpointReport, ObjectReport, ObjectsSummary, ProxyReport, RevisionStatus,
        ServiceReport, StatusReport, StoreReport, count,
    },
};

pub(super) use shown::Kept;
pub use shown::Shown;

use super::{Configuration, Registry, State, lock};

impl State {
    /// Everything, now. Takes as long as the mesh is large: who answers others with it takes [`State::shown`].
    pub fn status(&self) -> StatusReport {
        self.look().0
    }

    /// The same, and what became of each object.
    fn look(&self) -> (StatusReport, Vec<ObjectReport>) {
        let configuration = self.0.configuration.load();
        let newest = configuration.configured.revision.number;
        let proxies = self.0.connected.reports(newest);
        let mut services = services(&configuration, &lock(&self.0.registry));
        note_without_port(&mut services, &proxies, &configuration.compiled);
        let found = self.found(&configuration, &proxies);
        let objects = self.objects_of(&configuration, &proxies, &found);
        let status = StatusReport {
            revision: revisions(&configuration.revisions)
                .next()
                .unwrap_or_default(),
            pinned: configuration.pinned(),
            waiting: configuration
                .waiting
                .iter()
                .take(CHANGED_MAX)
                .map(ToString::to_string)
                .collect(),
            trust_domain: configuration.compiled.trust_domain.to_string(),
            rejected: configuration.rejected.clone(),
            conditions: found,
            objects: ObjectsSummary::of(&objects),
            services,
            plaintext_callers: self.callers_summary(),
            proxies,
            store: self.store_health().map(store),
        };
        (status, objects)
    }

    /// What does not do all that it says.
    pub(super) fn found(
        &self,
        configuration: &Configuration,
        proxies: &[ProxyReport],
    ) -> Vec<Condition> {
        let compiled = &configuration.compiled;
        let findings = compiled.findings.iter().map(|finding| Condition {
            object: finding.object.to_string(),
            reason: finding.reason.as_str().to_owned(),
            message: finding.message.clone(),
        });
        let stale = stale::stale(
            &configuration.world,
            &lock(&self.0.fetched),
            SystemTime::now(),
        );
        let findings = findings
            .chain(expired(compiled))
            .chain(stale)
            .chain(stranded::stranded(compiled, proxies))
            .chain(outdated::outdated(compiled, proxies))
            .chain(self.gap(&configuration.configured.revision))
            .chain(self.still_waiting(configuration));
        let remarks = configuration.remarks.of(&configuration.world);
        once(findings.collect(), remarks.to_vec())
    }

    /// Services, their instances, and workloads that only call, by namespace and name.
    pub fn services(&self) -> Vec<ServiceReport> {
        let configuration = self.0.configuration.load();
        let proxies = self.0.connected.reports(0);
        let mut services = services(&configuration, &lock(&self.0.registry));
        note_without_port(&mut services, &proxies, &configuration.compiled);
        services
    }

    /// The revisions still remembered, newest first.
    pub fn revisions(&self) -> Vec<RevisionStatus> {
        revisions(&self.0.configuration.load().revisions).collect()
    }
}

/// Fault policies whose time is over: still there, and without effect.
fn expired(compiled: &Compiled) -> impl Iterator<Item = Condition> {
    let now = SystemTime::now();
    let expired = compiled
        .fault_expiries
        .iter()
        .filter(move |(_, at)| *at <= now);
    expired.map(|(object, at)| Condition {
        object: object.to_string(),
        reason: "Expired".to_owned(),
        message: format!(
            "without effect since {}: delete it, or edit it to begin anew",
            clock::text(*at)
        ),
    })
}

/// A name that nothing has is found twice: in the text, with its place, and by the compiler, with Gateway API's word for
/// it. Told once, with both.
fn once(mut findings: Vec<Condition>, mut remarks: Vec<Condition>) -> Vec<Condition> {
    for remark in &mut remarks {
        let names: Vec<&str> = remark.message.split('`').skip(1).step_by(2).collect();
        let same = findings.iter().position(|finding| {
            let mut words = finding.message.split([' ', ',']);
            finding.object == remark.object
                && ["TargetNotFound", "RefNotResolved", "RefNotPermitted"]
                    .contains(&finding.reason.as_str())
                && words.any(|word| word.contains('/') && names.contains(&word))
        });
        if let Some(index) = same {
            remark.reason = findings.remove(index).reason;
        }
    }
    findings.append(&mut remarks);
    findings
}

fn store(health: Health) -> StoreReport {
    match health {
        Health::Reachable => StoreReport {
            reachable: true,
            ..StoreReport::default()
        },
        Health::Unreachable { since, why } => StoreReport {
            reachable: false,
            unreachable_since: clock::text(since),
            why,
        },
    }
}

/// Newest first.
fn revisions(records: &[RevisionRecord]) -> impl Iterator<Item = RevisionStatus> {
    let oldest = history::oldest(records);
    records.iter().rev().map(move |record| RevisionStatus {
        number: record.number,
        digest: record.digest.clone(),
        accepted_at: clock::text(record.accepted_at),
        changed: record.changed.clone(),
        changed_count: match record.changed_count {
            None if record.names_some_only() => 0,
            known => count(known.unwrap_or(record.changed.len())),
        },
        origin: match record.origin {
            Origin::Unknown => String::new(),
            Origin::Directory => "directory".to_owned(),
            Origin::Cluster => "cluster".to_owned(),
            Origin::Apply => "apply".to_owned(),
            Origin::Rollback(to) => format!("rollback to {to}"),
            Origin::Release => "release".to_owned(),
        },
        author: record.author.clone(),
        message: record.message.clone(),
        restorable: record.number >= oldest,
    })
}

fn services(configuration: &Configuration, registry: &Registry) -> Vec<ServiceReport> {
    let compiled = &configuration.compiled;
    let reports = compiled.services.values().map(|service| {
        let present = present(compiled, &registry.instances, &service.name);
        let endpoints = present.into_iter().map(|one| {
            let said = one.said;
            let words = said.map(|said| said.health_reason.clone());
            EndpointReport {
                instance: one.endpoint.name.instance.to_string(),
                address: one.endpoint.address,
                healthy: one.endpoint.healthy,
                health_reason: words.unwrap_or_default(),
                zone: one.endpoint.zone,
                revision: said.map_or(0, |said| said.revision),
                listed: one.is_listed,
            }
        });
        let mut report = ServiceReport {
            namespace: service.name.namespace.to_string(),
            name: service.name.name.to_string(),
            virtual_addresses: service.virtual_addresses.clone(),
            ports: service.ports.iter().map(|port| port.port.get()).collect(),
            identities: service.identities.iter().map(ToString::to_string).collect(),
            endpoints: endpoints.collect(),
            ..ServiceReport::default()
        };
        led::note(&mut report, service);
        report
    });
    let mut reports: Vec<ServiceReport> = reports.chain(callers(compiled)).collect();
    reports.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    reports
}

/// Why a Service has no instance, where that is known: all that runs of it was started without an application's port. It
/// is down all the same: whether it was meant to be called cannot be told from a port that was forgotten.
fn note_without_port(services: &mut [ServiceReport], proxies: &[ProxyReport], compiled: &Compiled) {
    let mut without_port: BTreeMap<ServiceName, bool> = BTreeMap::new();
    for proxy in proxies {
        // Both were parsed when its stream began.
        let (Ok(node), Ok(identity)) = (proxy.node.parse::<InstanceName>(), proxy.identity.parse())
        else {
            continue;
        };
        if compiled.may_be(&identity, &node.service) {
            *without_port.entry(node.service).or_insert(true) &= proxy.only_calls;
        }
    }
    let down = services.iter_mut();
    for service in down.filter(|one| one.endpoints.is_empty() && !one.only_calls) {
        let name = format!("{}/{}", service.namespace, service.name);
        let name = name.parse::<ServiceName>();
        service.without_port = name.is_ok_and(|name| without_port.get(&name) == Some(&true));
    }
}

/// Workloads behind no Service. One that some Service selects has its instances there.
fn callers(compiled: &Compiled) -> impl Iterator<Item = ServiceReport> {
    let called = |identity| {
        let mut services = compiled.services.values();
        services.any(|service| service.identities.contains(identity))
    };
    let alone = compiled.backing.iter().filter(move |(name, backing)| {
        !compiled.services.contains_key(name) && !backing.iter().any(|one| called(&one.identity))
    });
    alone.map(|(name, backing)| ServiceReport {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        identities: backing.iter().map(|one| one.identity.to_string()).collect(),
        only_calls: true,
        ..ServiceReport::default()
    })
}

#[cfg(test)]
mod tests;
