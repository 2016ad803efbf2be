//! Which proxies run what they are told of an object: `Programmed n/m`.
//!
//! A revision that changes nothing of what a proxy asked for is not sent to it, so being compared with it counts as much as
//! acknowledging it (`ProxyReport::applied`).

use std::collections::{BTreeMap, BTreeSet};

use usher_config::value::{InstanceName, ServiceName};

use crate::{
    compile::{Compiled, reach::Reach},
    status::{ConditionReport, ConditionStatus, ProxyReport},
};

/// How many proxies a message names.
const NAMED_MAX: usize = 5;

/// The connected proxies, by what they are told.
#[derive(Debug, Default)]
pub(crate) struct Proxies<'p> {
    all: &'p [ProxyReport],
    callers_of: BTreeMap<&'p str, Vec<usize>>,
    instances_of: BTreeMap<String, Vec<usize>>,
    gateways_of: BTreeMap<String, Vec<usize>>,
}

impl<'p> Proxies<'p> {
    /// Of those, as far as configuration lets them be what they say.
    pub(crate) fn new(all: &'p [ProxyReport], compiled: &Compiled) -> Self {
        let mut proxies = Self {
            all,
            ..Self::default()
        };
        for (index, proxy) in all.iter().enumerate() {
            for service in &proxy.calls {
                let callers = proxies.callers_of.entry(service).or_default();
                callers.push(index);
            }
            // Both were parsed when its stream began.
            let (Ok(node), Ok(identity)) =
                (proxy.node.parse::<InstanceName>(), proxy.identity.parse())
            else {
                continue;
            };
            if compiled.may_be(&identity, &node.service) {
                let name = node.service.to_string();
                if proxy.is_gateway {
                    let gateways = proxies.gateways_of.entry(name.clone()).or_default();
                    gateways.push(index);
                }
                proxies.instances_of.entry(name).or_default().push(index);
            }
        }
        proxies
    }

    /// Those that are told something of it.
    pub(crate) fn reached(&self, reach: Option<&'p Reach>) -> Reached<'p> {
        let Some(reach) = reach.filter(|reach| !reach.is_empty()) else {
            return Reached {
                nobody: true,
                ..Reached::default()
            };
        };
        let indexes: BTreeSet<usize> = if reach.everywhere {
            (0..self.all.len()).collect()
        } else {
            let of = |by: &BTreeMap<String, Vec<usize>>, name: &str| {
                by.get(name).cloned().unwrap_or_default()
            };
            let services = reach.services.iter().map(ToString::to_string);
            let callers =
                services.flat_map(|name| self.callers_of.get(&*name).cloned().unwrap_or_default());
            let inbound = reach.inbound.iter().map(ToString::to_string);
            let instances = inbound.flat_map(|name| of(&self.instances_of, &name));
            let gateways = reach.gateways.iter().map(ToString::to_string);
            let gateways = gateways.flat_map(|name| of(&self.gateways_of, &name));
            callers.chain(instances).chain(gateways).collect()
        };
        let proxies = indexes.into_iter().filter_map(|index| self.all.get(index));
        Reached {
            nobody: false,
            proxies: proxies
                .map(|proxy| (proxy, refuses(proxy, reach)))
                .collect(),
        }
    }
}

/// Since which revision it refuses something of that, if it does.
fn refuses(proxy: &ProxyReport, reach: &Reach) -> Option<u64> {
    let refuses = &proxy.refuses;
    let of = |refused: &BTreeMap<String, u64>, reached: &BTreeSet<ServiceName>| {
        let is_reached = |name: &str| {
            let name = name.parse();
            reach.everywhere || name.is_ok_and(|name| reached.contains(&name))
        };
        let refused = refused.iter();
        let refused = refused.filter(|(name, _)| is_reached(name));
        refused.map(|(_, since)| *since).min()
    };
    let services = of(&refuses.services, &reach.services);
    let inbound = of(&refuses.inbound, &reach.inbound);
    let gateways = of(&refuses.gateways, &reach.gateways);
    [services, inbound, gateways].into_iter().flatten().min()
}

/// Who is told of an object.
#[derive(Debug, Default)]
pub(crate) struct Reached<'p> {
    /// Nothing of it is in anybody's configuration, whoever connects.
    pub(crate) nobody: bool,
    /// Connected, and since which revision it refuses something of it.
    proxies: Vec<(&'p ProxyReport, Option<u64>)>,
}

impl Reached<'_> {
    /// How many are connected.
    pub(crate) fn of(&self) -> usize {
        self.proxies.len()
    }

    /// How many of them run what came with `revision`.
    pub(crate) fn programmed(&self, revision: u64) -> usize {
        let runs = self.proxies.iter();
        runs.filter(|one| proxy_runs(one, revision)).count()
    }
}

/// Whether it runs what came with `revision`: that, or something newer of it, is not what it refuses.
fn proxy_runs((proxy, since): &(&ProxyReport, Option<u64>), revision: u64) -> bool {
    proxy.applied >= revision && since.is_none_or(|since| since > revision)
}

/// Whether all of them run what came with `revision`. Pure.
pub(super) fn programmed(
    reached: &Reached<'_>,
    revision: u64,
    accepted: &ConditionReport,
) -> (ConditionStatus, &'static str, String) {
    let (number, of) = (reached.programmed(revision), reached.of());
    if reached.nobody {
        let why = "no sidecar and no gateway is told anything of it".to_owned();
        return match accepted.status {
            ConditionStatus::False => (ConditionStatus::False, "NotAccepted", why),
            ConditionStatus::True | ConditionStatus::Unknown => {
                (ConditionStatus::Unknown, "NoProxies", why)
            }
        };
    }
    if of == 0 {
        let why = "0/0: none is connected here that is told of it".to_owned();
        return (ConditionStatus::Unknown, "NoProxies", why);
    }
    if number == of {
        let all = format!("{number}/{of} proxies run revision {revision}");
        return (ConditionStatus::True, "Programmed", all);
    }
    let refused = reached.proxies.iter();
    let refused = refused.filter(|(_, since)| since.is_some_and(|since| since <= revision));
    let refused: Vec<String> = refused.map(|(proxy, _)| refusal(proxy)).collect();
    if !refused.is_empty() {
        let why = format!("{number}/{of}: {}", named(&refused));
        return (ConditionStatus::False, "Refused", why);
    }
    let behind = reached.proxies.iter();
    let behind = behind.filter(|(proxy, _)| proxy.applied < revision);
    let behind: Vec<String> = behind
        .map(|(proxy, _)| match &proxy.last_nack {
            Some(_) => refusal(proxy),
            None => proxy.node.clone(),
        })
        .collect();
    let why = format!("{number}/{of}: not yet in {}", named(&behind));
    (ConditionStatus::False, "Pending", why)
}

fn refusal(proxy: &ProxyReport) -> String {
    match &proxy.last_nack {
        Some(nack) => format!(
            "{} refused revision {}: {}",
            proxy.node, nack.revision, nack.message
        ),
        None => format!("{} refused it", proxy.node),
    }
}

/// The first of them, and how many more.
fn named(all: &[String]) -> String {
    let first: Vec<&str> = all.iter().take(NAMED_MAX).map(String::as_str).collect();
    match all.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
