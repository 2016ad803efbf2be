//! A service that is called in plaintext does not become `Strict` by the way.
//!
//! Whoever is listed would be refused from one moment to the next. So where a change of configuration makes a running
//! service `Strict`, all of it comes into force but that: the service still takes plaintext
//! ([`World::still_permissive`]), until nobody is listed any more, or until somebody says that they know: `usher apply --force`,
//! `usher rollback --force`, `usher callers --dismiss`. It is decided anew with each revision, and ends with one. Nothing else waits, and a
//! mode only where nothing would be open that was closed (`compile/modes.rs`).
//!
//! A control plane whose instances are in its memory only knows nobody when it starts. So for [`KNOWN_AFTER`] nothing that
//! ran `Permissive` becomes `Strict`: sidecars come back within that time, and say whom they have seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, Weak},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::{info, warn};
use usher_config::{kind::ObjectKey, model::MtlsMode, value::ServiceName};

use crate::{
    clock,
    compile::modes::{LockOut, deciders, lock_outs},
    registry::{StoreError, World, callers::Caller, world::Reading},
    status::{CallerReport, Condition},
};

use super::{
    Configuration, Inner, State,
    apply::{By, CONFLICTS_MAX},
    configure::Next,
    lock,
};

/// After a start, until sidecars have said who calls them: those that were connected register again within 10 s, or a few
/// times that where thousands do at once.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(60);

/// How long a dismissal holds: for a change that is made at once, before or after it. Who calls afterwards is listed anew.
pub const DISMISSED_FOR: Duration = Duration::from_secs(600);

/// How late it is noticed that nobody is in the way any more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Callers that are named; `usher callers` lists them all.
const NAMED_MAX: usize = 3;

/// Services that are named for each object, and each revision.
const SERVICES_MAX: usize = 5;

/// The reason of the condition.
pub(super) const REASON: &str = "PlaintextCallers";

/// What is known beside who calls.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Until then sidecars have not been heard.
    unknown_until: Option<(Instant, SystemTime)>,
    dismissed: Mutex<Dismissed>,
}

#[derive(Debug, Default)]
struct Dismissed {
    all: Option<Instant>,
    services: BTreeMap<ServiceName, Instant>,
}

impl Guard {
    /// Of a control plane that starts now; `knows`: nothing ran, or who calls is in its store.
    pub(super) fn new(knows: bool) -> Self {
        let until = (!knows).then(|| {
            (
                Instant::now() + KNOWN_AFTER,
                SystemTime::now() + KNOWN_AFTER,
            )
        });
        Self {
            unknown_until: until,
            ..Self::default()
        }
    }

    fn is_dismissed(&self, service: &ServiceName, now: Instant) -> bool {
        let dismissed = lock(&self.dismissed);
        let until = [dismissed.all, dismissed.services.get(service).copied()];
        until.into_iter().flatten().any(|until| now < until)
    }
}

impl State {
    /// Lets a service, or any, be `Strict` in spite of who is listed, until the answer: at once where that waits, and where
    /// it is written until then. `author`: as he says himself.
    ///
    /// # Errors
    /// The store did not take that what waits comes into force; what is written until then does.
    pub async fn dismiss_callers(
        &self,
        service: Option<ServiceName>,
        author: String,
    ) -> Result<SystemTime, StoreError> {
        let of = match &service {
            Some(service) => service.to_string(),
            None => "all services".to_owned(),
        };
        warn!(%of, author, "plaintext callers dismissed: Strict waits for nobody for 10 min, whoever calls");
        self.note_dismissed(service);
        let message = format!("plaintext callers of {of} dismissed");
        let state = self.clone();
        // Whoever asked may be gone before it is done; then it is done all the same, whole.
        let done = tokio::spawn(async move { state.end_waiting((author, message)).await });
        done.await
            .map_err(|error| StoreError::Storage(Box::new(error)))??;
        Ok(SystemTime::now() + DISMISSED_FOR)
    }

    fn note_dismissed(&self, service: Option<ServiceName>) {
        let (now, until) = (Instant::now(), Instant::now() + DISMISSED_FOR);
        let mut dismissed = lock(&self.0.guard.dismissed);
        dismissed.services.retain(|_, until| now < *until);
        match service {
            Some(service) => drop(dismissed.services.insert(service, until)),
            None => dismissed.all = Some(until),
        }
    }

    /// Of services that take plaintext as they run: what becomes of their callers if `next` is in force as it is written.
    /// Somebody calls them, as far as is known, and was not dismissed.
    pub(super) fn locked_out(
        &self,
        running: &Configuration,
        next: &World,
    ) -> BTreeMap<ServiceName, LockOut> {
        let (guard, now) = (&self.0.guard, Instant::now());
        let inbound = &running.compiled.inbound;
        let called: BTreeSet<ServiceName> = match self.unknown_until() {
            Some(_) => inbound.keys().cloned().collect(),
            None => lock(&self.0.registry).callers.letting_in(SystemTime::now()),
        };
        let takes_plaintext = |service: &&ServiceName| {
            let of = inbound.get(*service);
            of.is_some_and(|of| of.mtls == MtlsMode::Permissive)
        };
        let concerned = called.iter().filter(takes_plaintext);
        let concerned = concerned.filter(|service| !guard.is_dismissed(service, now));
        let concerned: Vec<&ServiceName> = concerned.collect();
        match concerned.is_empty() {
            true => BTreeMap::new(),
            false => lock_outs(inbound, next, concerned),
        }
    }

    /// Services that still take plaintext in `next`. Says of which that cannot be.
    pub(super) fn still_permissive(
        &self,
        running: &Configuration,
        next: &World,
    ) -> BTreeSet<ServiceName> {
        let mut waits = BTreeSet::new();
        for (service, lock_out) in self.locked_out(running, next) {
            match lock_out {
                LockOut::Waits => drop(waits.insert(service)),
                LockOut::AtOnce => warn!(
                    %service,
                    "becomes Strict although it is called in plaintext: its ports, its rules for callers without identity or \
                     its tokens change with it"
                ),
            }
        }
        waits
    }

    /// What would become of callers if `next` came now, in a line for each service.
    pub(super) fn remarks_on_callers(&self, running: &Configuration, next: &World) -> Vec<String> {
        let all = self.locked_out(running, next).into_iter();
        let said = all.map(|(service, lock_out)| match lock_out {
            LockOut::Waits => {
                let who = self.facts([&service]);
                format!("{REASON}: its mode waits: {who}")
            }
            LockOut::AtOnce => {
                let who = self.facts([&service]);
                format!("{REASON}: locks callers out at once, as more than the mode changes: {who}")
            }
        });
        said.collect()
    }

    /// Until when nobody knows who calls.
    fn unknown_until(&self) -> Option<SystemTime> {
        // Other control planes' instances, with who calls them, are read a moment after the start.
        let is_unread = self.0.shared.is_some() && *self.0.position.borrow() == 0;
        let own = self.0.guard.unknown_until;
        let own = own.filter(|(until, _)| Instant::now() < *until);
        let read = is_unread.then(|| SystemTime::now() + KNOWN_AFTER);
        own.map(|(_, until)| until).or(read)
    }

    /// Makes a revision in which services are `Strict` that nobody is in the way of any more.
    async fn end_waiting(&self, (author, message): (String, String)) -> Result<(), StoreError> {
        let _writing = self.0.writer.lock().await;
        let mut current = self.0.configuration.load_full();
        let mut attempts = 0;
        loop {
            let world = &current.world;
            let still = self.still_permissive(&current, world);
            let released: Vec<&ServiceName> = world.still_permissive.difference(&still).collect();
            if released.is_empty() {
                return Ok(());
            }
            let newest = current.revisions.last();
            let by = By {
                origin: newest.map(|record| record.origin).unwrap_or_default(),
                author: author.clone(),
                message: format!("{}: {message}", strict_now(&released)),
                forced: false,
            };
            let mut world = world.clone();
            world.still_permissive = still;
            let next = Next {
                digest: world.digest(),
                pinned: current.pinned(),
                reading: Reading {
                    world,
                    changed: Vec::new(),
                    rejected: current.rejected.clone(),
                    remarks: current.remarks.clone(),
                },
            };
            attempts += 1;
            match self.put(&current, next, Some(&by)).await {
                Err(StoreError::Conflict { stored, expected }) if attempts <= CONFLICTS_MAX => {
                    current = self.overtaken(&current, (stored, expected)).await?;
                }
                done => {
                    done?;
                    info!(message = by.message, "plaintext is refused");
                    // What a directory has otherwise than a revision that is held is told of the newest.
                    self.read_again();
                    return Ok(());
                }
            }
        }
    }

    fn read_again(&self) {
        let count = &self.0.released;
        count.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Objects whose `Strict` waits.
    pub(super) fn still_waiting(&self, configuration: &Configuration) -> Vec<Condition> {
        let waits = &configuration.world.still_permissive;
        if waits.is_empty() {
            return Vec::new();
        }
        let mut by_object: BTreeMap<ObjectKey, Vec<&ServiceName>> = BTreeMap::new();
        let deciders = deciders(&configuration.world, waits);
        for service in waits {
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

/// Has services be `Strict` as they are written when nobody is in the way any more.
pub(super) async fn watch_callers(state: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(state) = state.upgrade().map(State) else {
            return;
        };
        let running = state.0.configuration.load_full();
        let waits = &running.world.still_permissive;
        if waits.is_empty() || state.still_permissive(&running, &running.world) == *waits {
            continue;
        }
        let message = "nobody calls in plaintext any more".to_owned();
        if let Err(error) = state.end_waiting((String::new(), message)).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "services still take plaintext although nobody calls so: trying again in 5 s"
            );
        }
    }
}

fn strict_now(services: &[&ServiceName]) -> String {
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
        ([], None) => {
            format!("{service} is called by nobody any more, which is noticed within 5 s")
        }
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
