//! What is said of callers in plaintext: before a change, in the history, and while a mode waits.

use std::{collections::BTreeMap, time::SystemTime};

use usher_config::{kind::ObjectKey, value::ServiceName};

use super::{By, Configuration, REASON, State};
use crate::{
    clock,
    compile::modes::{LockOut, deciders},
    registry::{World, callers::Caller},
    status::{CallerReport, Condition},
};

/// Callers that are named; `usher callers` lists them all.
const NAMED_MAX: usize = 3;

/// Services that are named for each object, and each revision.
const SERVICES_MAX: usize = 5;

/// Who is locked out by a configuration that is about to be in force.
#[derive(Debug, Clone, Default)]
pub(in crate::state) struct LockedOut {
    pub(super) services: Vec<ServiceName>,
    pub(super) forced: bool,
}

impl LockedOut {
    /// The same command, with its consequence in the history.
    pub(in crate::state) fn told_in(&self, by: &By) -> By {
        if self.services.is_empty() {
            return by.clone();
        }
        let services: Vec<&ServiceName> = self.services.iter().collect();
        let why = match self.forced {
            true => "forced",
            false => {
                "more than the mode changes: ports, rules for callers without identity, tokens or workloads"
            }
        };
        let told = format!(
            "{}, and callers in plaintext are locked out ({why})",
            strict_now(&services)
        );
        let message = match by.message.as_str() {
            "" => told,
            said => format!("{said}; {told}"),
        };
        By {
            message,
            ..by.clone()
        }
    }
}

impl State {
    /// What would become of callers if `next` came now, in a line for each service; nothing about what waits already.
    pub(in crate::state) fn remarks_on_callers(
        &self,
        running: &Configuration,
        next: &World,
    ) -> Vec<String> {
        let waits = &running.world.still_permissive;
        let all = self.lock_outs(running, next).into_iter();
        let news = all
            .filter(|(service, (one, _))| *one == LockOut::AtOnce || !waits.contains_key(service));
        let said = news.take(SERVICES_MAX).map(|(service, (lock_out, _))| {
            let who = self.facts([&service]);
            match lock_out {
                LockOut::Waits => format!("{REASON}: its mode waits: {who}"),
                LockOut::AtOnce => format!(
                    "{REASON}: locks callers out at once, as more than the mode changes: {who}"
                ),
            }
        });
        said.collect()
    }

    /// Objects whose `Strict` waits.
    pub(in crate::state) fn still_waiting(&self, configuration: &Configuration) -> Vec<Condition> {
        let waits = &configuration.world.still_permissive;
        if waits.is_empty() {
            return Vec::new();
        }
        let mut by_object: BTreeMap<ObjectKey, Vec<&ServiceName>> = BTreeMap::new();
        let names = waits.keys().cloned().collect();
        let deciders = deciders(&configuration.world, &names);
        for service in waits.keys() {
            // One that is gone since waits for nothing.
            if let Some(object) = deciders.get(service) {
                by_object.entry(object.clone()).or_default().push(service);
            }
        }
        let condition = |(object, services): (ObjectKey, Vec<&ServiceName>)| Condition {
            object: object.to_string(),
            reason: REASON.to_owned(),
            message: self.message(&services),
        };
        by_object.into_iter().map(condition).collect()
    }

    fn message(&self, services: &[&ServiceName]) -> String {
        let service = match services {
            [service] => service.to_string(),
            _ => "SERVICE".to_owned(),
        };
        format!(
            "mtls.mode is Strict and waits, all else is in force: {}. Move them into the mesh (a day after its last call nobody is \
             listed any more), or lock them out: usher callers {service} --dismiss. Whoever reaches the port can hold this up: it \
             does not end by itself while they call",
            self.facts(services.iter().copied())
        )
    }

    /// Why these services still take plaintext.
    fn facts<'s>(&self, services: impl IntoIterator<Item = &'s ServiceName>) -> String {
        let mut services = services.into_iter();
        let named: Vec<&ServiceName> = services.by_ref().take(SERVICES_MAX).collect();
        let mut callers = self.callers_of(named.iter().copied(), Caller::is_let_in);
        let said = named.iter().map(|service| {
            let is_its = |one: &mut CallerReport| {
                one.namespace == service.namespace.as_str() && one.service == service.name.as_str()
            };
            let its: Vec<CallerReport> = callers.extract_if(.., is_its).collect();
            said(service, &its, self.unknown_until())
        });
        let said: Vec<String> = said.collect();
        let more = match services.count() {
            0 => String::new(),
            more => format!("; and {more} more services"),
        };
        format!("{}{more}", said.join("; "))
    }
}

pub(super) fn strict_now(services: &[&ServiceName]) -> String {
    let named = services.iter().take(SERVICES_MAX);
    let named: Vec<String> = named.map(ToString::to_string).collect();
    let more = match services.len().saturating_sub(SERVICES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("Strict in force for {}{more}", named.join(", "))
}

fn said(service: &ServiceName, callers: &[CallerReport], unknown: Option<SystemTime>) -> String {
    match (callers, unknown) {
        ([], Some(until)) => format!(
            "who calls {service} is not known yet, because this control plane has just started: its sidecars have until {} to say",
            clock::text(until)
        ),
        ([], None) => format!(
            "{service} was called; by whom is forgotten since a start of a control plane or of the service's own instances, which \
             for a day is no sign that nobody does"
        ),
        (callers, _) => {
            let named = callers.iter().take(NAMED_MAX);
            let named: Vec<String> = named
                .map(|one| format!("{}, last seen {}", one.who(), one.last_seen))
                .collect();
            let more = match callers.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more (usher callers {service})"),
            };
            format!("{service} is called by {}{more}", named.join(", by "))
        }
    }
}
