//! What was, what is → what has changed. Pure.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use crate::status::{Change, ChangeReport, EndpointReport, ServiceReport};

/// What a watcher wants to know about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only services of this name.
    pub service: Option<String>,
    /// Only instances in this zone.
    pub zone: Option<String>,
    /// Only instances that are well, or only those that are not: one that changes comes or goes.
    pub healthy: Option<bool>,
}

impl Filter {
    /// Whether this service is of interest.
    pub fn takes(&self, service: &ServiceReport) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is(&self.namespace, &service.namespace) && is(&self.service, &service.name)
    }

    /// Whether this instance of such a service is.
    pub fn takes_instance(&self, instance: &EndpointReport) -> bool {
        self.zone.as_ref().is_none_or(|zone| *zone == instance.zone)
            && self
                .healthy
                .is_none_or(|healthy| healthy == instance.healthy)
    }
}

/// `now`, with the reports of `before` that are still true: those who compare the two need not look into them. Both are by
/// namespace and name.
pub(super) fn keeping(
    before: &[Arc<ServiceReport>],
    now: Vec<ServiceReport>,
) -> Vec<Arc<ServiceReport>> {
    let mut before = before.iter().peekable();
    let mut kept = Vec::with_capacity(now.len());
    for service in now {
        while before
            .next_if(|known| order(known, &service) == Ordering::Less)
            .is_some()
        {}
        let known = before.next_if(|known| ***known == service);
        kept.push(known.map_or_else(|| Arc::new(service), Arc::clone));
    }
    kept
}

fn order(one: &ServiceReport, other: &ServiceReport) -> Ordering {
    (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name))
}

/// What makes `after` of `before`, in the order in which it can be followed: a service comes before its instances and
/// goes after them. Which configuration a sidecar runs is no change: it says so with every renewal. Reports that are
/// shared by both ([`keeping`]) cost nothing.
pub fn difference(
    before: &[Arc<ServiceReport>],
    after: &[Arc<ServiceReport>],
    filter: &Filter,
) -> Vec<ChangeReport> {
    let (before, after) = (by_name(before, filter), by_name(after, filter));
    let mut changes = Vec::new();
    for (name, service) in &after {
        let known = before.get(name);
        match known {
            Some(known) if Arc::ptr_eq(known, service) => continue,
            None => changes.push(of_service(Change::Added, service)),
            Some(known) if !same_service(known, service) => {
                changes.push(of_service(Change::Changed, service));
            }
            Some(_) => {}
        }
        let known = known.map(|known| &***known);
        of_instances(known, Some(&***service), filter, &mut changes);
    }
    for (name, service) in &before {
        if !after.contains_key(name) {
            of_instances(Some(&***service), None, filter, &mut changes);
            changes.push(of_service(Change::Removed, service));
        }
    }
    changes
}

type ByName<'a> = BTreeMap<(&'a str, &'a str), &'a Arc<ServiceReport>>;

fn by_name<'a>(services: &'a [Arc<ServiceReport>], filter: &Filter) -> ByName<'a> {
    let wanted = services
        .iter()
        .filter(|service| !service.only_calls && filter.takes(service));
    wanted
        .map(|service| ((service.namespace.as_str(), service.name.as_str()), service))
        .collect()
}

fn of_instances(
    before: Option<&ServiceReport>,
    after: Option<&ServiceReport>,
    filter: &Filter,
    changes: &mut Vec<ChangeReport>,
) {
    let (known, found) = (instances(before, filter), instances(after, filter));
    for (name, instance) in &found {
        let change = match known.get(name) {
            None => Change::Added,
            Some(known) if !same_instance(known, instance) => Change::Changed,
            Some(_) => continue,
        };
        changes.extend(after.map(|service| of_instance(change, service, instance)));
    }
    for (name, instance) in &known {
        if !found.contains_key(name) {
            let service = after.or(before);
            changes.extend(service.map(|service| of_instance(Change::Removed, service, instance)));
        }
    }
}

fn instances<'a>(
    service: Option<&'a ServiceReport>,
    filter: &Filter,
) -> BTreeMap<&'a str, &'a EndpointReport> {
    let all = service.into_iter().flat_map(|service| &service.endpoints);
    let wanted = all.filter(|instance| filter.takes_instance(instance));
    wanted
        .map(|instance| (instance.instance.as_str(), instance))
        .collect()
}

fn same_service(one: &ServiceReport, other: &ServiceReport) -> bool {
    one.ports == other.ports && one.virtual_addresses == other.virtual_addresses
}

fn same_instance(one: &EndpointReport, other: &EndpointReport) -> bool {
    one.address == other.address && one.healthy == other.healthy && one.zone == other.zone
}

fn of_service(change: Change, service: &ServiceReport) -> ChangeReport {
    ChangeReport {
        change,
        namespace: service.namespace.clone(),
        service: service.name.clone(),
        ports: service.ports.clone(),
        virtual_addresses: service.virtual_addresses.clone(),
        instance: None,
    }
}

fn of_instance(change: Change, service: &ServiceReport, instance: &EndpointReport) -> ChangeReport {
    ChangeReport {
        change,
        namespace: service.namespace.clone(),
        service: service.name.clone(),
        ports: Vec::new(),
        virtual_addresses: Vec::new(),
        instance: Some(instance.clone()),
    }
}
