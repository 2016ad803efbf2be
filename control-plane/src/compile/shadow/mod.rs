//! Routes, rules and policies that no request reaches, and who is in their way.
//!
//! Who wins is decided by the order of what was compiled (age included), so what was compiled is looked at, list by list:
//! a port of a Service for the same callers, a host name of a listener. What a list says of two routes is
//! [`usher_config::decide::route::shadowed`]. Not kept: people ask, and it takes a look at each route.

mod words;
mod policies;

use std::collections::{BTreeMap, HashMap, HashSet};

use usher_config::{
    decide::route::shadowed,
    model::{Gateway, Route, Service},
    value::{Hostname, Name, Port, ServiceName},
};

use super::{Compiled, Finding, index::Index, targets::Targets};
use crate::registry::World;

pub use words::{FIRST_BY_NAME, Told, told};

/// Whose requests a list of routes is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parent<'c> {
    /// Calls to a service.
    Service(&'c ServiceName),
    /// Requests to a gateway, at this listener.
    Listener(&'c ServiceName, &'c Name),
}

/// One match of a rule that gets none of its requests there, because another one gets them all.
#[derive(Debug, Clone)]
pub struct Shadow<'c> {
    /// As compiled.
    pub route: &'c Route,
    /// As compiled; of another rule.
    pub by: &'c Route,
    /// Where.
    pub parent: Parent<'c>,
    /// Of a service, at which of its ports; empty: all that the route has.
    pub ports: Vec<Port>,
    /// Whether nothing is left of the match at the parent.
    pub is_whole: bool,
}

/// All of them.
pub fn shadows(compiled: &Compiled) -> Vec<Shadow<'_>> {
    let services = compiled.services.values();
    let mut all: Vec<Shadow<'_>> = services.flat_map(of_service).collect();
    for (name, gateway) in &compiled.gateways {
        all.extend(of_gateway(name, gateway));
    }
    all
}

/// Of whom nothing is left where it was compiled for.
#[derive(Debug, Default)]
pub struct Dead(HashSet<*const Route>);

impl Dead {
    /// Those of `shadows`.
    pub fn new(shadows: &[Shadow<'_>]) -> Self {
        let whole = shadows.iter().filter(|shadow| shadow.is_whole);
        Self(
            whole
                .map(|shadow| std::ptr::from_ref(shadow.route))
                .collect(),
        )
    }

    /// Whether `route`, the very same, gets no request.
    pub fn has(&self, route: &Route) -> bool {
        self.0.contains(&std::ptr::from_ref(route))
    }
}

/// Callers in a namespace that has routes of its own follow those, all others the owner's: two lists that never meet.
fn of_service(service: &Service) -> Vec<Shadow<'_>> {
    let mut lists: BTreeMap<Option<&Name>, Vec<&Route>> = BTreeMap::new();
    if service.routes.len() > 1 {
        for route in &service.routes {
            let list = lists.entry(route.callers.as_ref()).or_default();
            list.push(route);
        }
    }
    let mut all = Vec::new();
    for list in lists.values() {
        if list.iter().all(|route| route.ports.is_empty()) {
            let found = shadowed(list).into_iter();
            all.extend(found.filter_map(|pair| {
                let parent = Parent::Service(&service.name);
                shadow(pair, parent, (Vec::new(), true))
            }));
        } else {
            all.extend(by_port(service, list));
        }
    }
    all
}

/// Of routes of which some are not for all ports.
fn by_port<'c>(service: &'c Service, list: &[&'c Route]) -> Vec<Shadow<'c>> {
    let mut all: Vec<Shadow<'c>> = Vec::new();
    let mut known: HashMap<(*const Route, *const Route), usize> = HashMap::new();
    let mut lost: HashMap<*const Route, usize> = HashMap::new();
    for port in service.ports.iter().map(|port| port.port) {
        let there = list.iter().copied();
        let there = there.filter(|route| route.ports.is_empty() || route.ports.contains(&port));
        let there: Vec<&Route> = there.collect();
        for pair in shadowed(&there) {
            let parent = Parent::Service(&service.name);
            let Some(found) = shadow(pair, parent, (vec![port], false)) else {
                continue;
            };
            *lost.entry(std::ptr::from_ref(found.route)).or_default() += 1;
            let both = (
                std::ptr::from_ref(found.route),
                std::ptr::from_ref(found.by),
            );
            match known.get(&both).and_then(|at| all.get_mut(*at)) {
                Some(before) => before.ports.push(port),
                None => {
                    known.insert(both, all.len());
                    all.push(found);
                }
            }
        }
    }
    for shadow in &mut all {
        let ports = match shadow.route.ports.len() {
            0 => service.ports.len(),
            some => some,
        };
        let lost = lost.get(&std::ptr::from_ref(shadow.route));
        shadow.is_whole = lost.is_some_and(|lost| *lost == ports);
        if shadow.ports.len() == ports {
            shadow.ports.clear();
        }
    }
    all
}

/// A more precise host name is asked before all wider ones, whatever their matches: each has a list of its own.
fn of_gateway<'c>(name: &'c ServiceName, gateway: &'c Gateway) -> Vec<Shadow<'c>> {
    let mut all = Vec::new();
    for listener in &gateway.listeners {
        let mut lists: BTreeMap<Option<&Hostname>, Vec<&Route>> = BTreeMap::new();
        for route in listener.routes.iter().map(|one| &one.route) {
            let list = lists.entry(route.hostnames.first()).or_default();
            list.push(route);
        }
        let found = lists.values().flat_map(|list| shadowed(list));
        all.extend(found.filter_map(|pair| {
            let parent = Parent::Listener(name, &listener.name);
            shadow(pair, parent, (Vec::new(), true))
        }));
    }
    all
}

/// A rule that says the same twice loses nothing.
fn shadow<'c>(
    (route, by): (&'c Route, &'c Route),
    parent: Parent<'c>,
    (ports, is_whole): (Vec<Port>, bool),
) -> Option<Shadow<'c>> {
    (route.name != by.name).then_some(Shadow {
        route,
        by,
        parent,
        ports,
        is_whole,
    })
}

/// What there is to say: of routes, and of policies for them.
pub(super) fn report(
    world: &World,
    (index, targets): (&Index<'_>, &Targets<'_>),
    compiled: &Compiled,
    findings: &mut Vec<Finding>,
) {
    let shadows = shadows(compiled);
    let told = told(world, compiled, &shadows).into_iter();
    findings.extend(told.map(|(finding, _)| finding));
    policies::policies((index, targets), (compiled, &shadows), findings);
}

/// Who gets requests.
#[derive(Debug, Default)]
struct Reached<'c> {
    /// Rules, by their labels.
    rules: HashSet<&'c str>,
    /// Routes, by what the labels of their rules begin with.
    objects: HashSet<&'c str>,
}

impl<'c> Reached<'c> {
    /// Nothing, if nothing is shadowed: nobody asks then.
    fn new(compiled: &'c Compiled, shadows: &[Shadow<'c>]) -> Self {
        if shadows.is_empty() {
            return Self::default();
        }
        let dead = Dead::new(shadows);
        let called = compiled.services.values();
        let called = called.flat_map(|service| &service.routes);
        let live = called.chain(at_gateways(compiled));
        let live = live.filter(|route| !dead.has(route));
        let rules: HashSet<&str> = live.map(|route| &*route.name).collect();
        let objects = rules.iter().map(|label| object_of(label)).collect();
        Self { rules, objects }
    }
}

/// Of the label of a rule, what says whose it is.
fn object_of(label: &str) -> &str {
    label.rsplit_once('/').map_or(label, |(object, _)| object)
}

fn at_gateways(compiled: &Compiled) -> impl Iterator<Item = &Route> {
    let gateways = compiled.gateways.values();
    let listeners = gateways.flat_map(|gateway| &gateway.listeners);
    listeners.flat_map(|listener| listener.routes.iter().map(|one| &one.route))
}
