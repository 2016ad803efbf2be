//! A service that is called in plaintext does not become `Strict` by the way.
//!
//! Whoever is listed would be refused from one moment to the next. So where a change of configuration makes a running
//! service `Strict`, all of it comes into force but that: the service still takes plaintext
//! ([`World::still_permissive`]), until nobody is listed any more, or until somebody says that they know: `usher apply --force`,
//! `usher rollback --force`, `usher callers --dismiss`. It is decided anew with each revision, and ends with one. Nothing else waits, and a
//! mode only where nothing would be open that was closed (`compile/modes.rs`).
//!
//! Who calls is known from sidecars that run, and to control planes that do. One that starts knows nobody: for [`KNOWN_AFTER`]
//! nothing that ran `Permissive` becomes `Strict`, as sidecars come back within that time and say whom they have seen; and for a
//! day it ends by itself no wait for callers that others knew, as the sidecars that had seen them may be gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, Weak},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::{info, warn};
use usher_config::{kind::ObjectKey, model::MtlsMode, value::ServiceName};

use crate::{
    clock,
    compile::modes::{LockOut, deciders, lock_outs, written_strict},
    registry::{
        StoreError, World,
        callers::{Caller, FORGOTTEN_AFTER},
        store::Wait,
        world::Reading,
    },
    status::{CallerReport, Condition},
};

use super::{
    Configuration, Inner, State,
    apply::{By, CONFLICTS_MAX},
    configure::{Next, off_thread},
    lock,
};

/// After a start, until sidecars have said who calls them: those that were connected register again within 10 s, or a few
/// times that where thousands do at once.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(60);

/// How long a dismissal holds: for a change that is made at once, before or after it. Who calls afterwards is listed anew.
pub const DISMISSED_FOR: Duration = Duration::from_secs(600);

/// How late it is noticed that nobody is in the way any more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A step of the clock that is no drift.
const CLOCK_JUMP: Duration = Duration::from_secs(60);

/// After so long every sidecar has told again of all who call (its `AGAIN_AFTER`, and a renewal).
const TOLD_AGAIN: Duration = Duration::from_secs(360);

/// Callers that are named; `usher callers` lists them all.
const NAMED_MAX: usize = 3;

/// Services that are named for each object, and each revision.
const SERVICES_MAX: usize = 5;

/// The reason of the condition.
pub(super) const REASON: &str = "PlaintextCallers";

/// What is known beside who calls.
#[derive(Debug)]
pub(super) struct Guard {
    /// Until then it may not have heard of all who call: a day after the start, or after the clock was set.
    pub(super) doubts_until: Mutex<Instant>,
    /// Until then sidecars have not been heard.
    unknown_until: Mutex<Option<(Instant, SystemTime)>>,
    dismissed: Mutex<Dismissed>,
    /// Services that a rollback made take plaintext again, and until when nobody may have noticed.
    reopened: Mutex<BTreeMap<ServiceName, Instant>>,
    /// Two clocks at one moment.
    clocks: Mutex<(std::time::Instant, SystemTime)>,
}

#[derive(Debug, Default)]
struct Dismissed {
    all: Option<Instant>,
    services: BTreeMap<ServiceName, Instant>,
}

impl Guard {
    /// Of a control plane that starts now; `knows`: nothing ran yet.
    pub(super) fn new(knows: bool) -> Self {
        let guard = Self {
            doubts_until: Mutex::new(Instant::now() + FORGOTTEN_AFTER),
            unknown_until: Mutex::default(),
            dismissed: Mutex::default(),
            reopened: Mutex::default(),
            clocks: Mutex::new((std::time::Instant::now(), SystemTime::now())),
        };
        if !knows {
            guard.know_nobody_for(KNOWN_AFTER);
        }
        guard
    }

    fn know_nobody_for(&self, time: Duration) {
        let until = (Instant::now() + time, SystemTime::now() + time);
        *lock(&self.unknown_until) = Some(until);
    }

    fn is_dismissed(&self, service: &ServiceName, now: Instant) -> bool {
        let dismissed = lock(&self.dismissed);
        let until = [dismissed.all, dismissed.services.get(service).copied()];
        until.into_iter().flatten().any(|until| now < until)
    }

    /// Whether that a service is called was known, and that it is not any more cannot be.
    fn may_be_called(&self, (service, wait): (&ServiceName, Wait), now: Instant) -> bool {
        let doubts = now < *lock(&self.doubts_until);
        let is_reopened = lock(&self.reopened)
            .get(service)
            .is_some_and(|until| now < *until);
        wait == Wait::Called && doubts || is_reopened
    }

    /// A rollback makes a service take plaintext again: who was dismissed before it is not any more.
    fn reopen(&self, service: ServiceName, until: Instant) {
        let mut dismissed = lock(&self.dismissed);
        dismissed.all = None;
        dismissed.services.remove(&service);
        drop(dismissed);
        lock(&self.reopened).insert(service, until);
    }

    /// Callers are forgotten by the clock on the wall. When somebody has moved its hands, sidecars have to tell of them again.
    fn look_at_clocks(&self) {
        let mut clocks = lock(&self.clocks);
        let (then, wall) = *clocks;
        *clocks = (std::time::Instant::now(), SystemTime::now());
        let (now, expected) = (clocks.1, wall + then.elapsed());
        let moved = now
            .duration_since(expected)
            .unwrap_or_else(|error| error.duration());
        if moved > CLOCK_JUMP {
            warn!(
                ?moved,
                "the clock was set: who calls in plaintext is asked anew"
            );
            self.know_nobody_for(TOLD_AGAIN);
            *lock(&self.doubts_until) = Instant::now() + FORGOTTEN_AFTER;
        }
    }
}

/// Who is locked out by a configuration that is about to be in force.
#[derive(Debug, Clone, Default)]
pub(super) struct LockedOut {
    services: Vec<ServiceName>,
    forced: bool,
}

impl LockedOut {
    /// The same command, with its consequence in the history.
    pub(super) fn told_in(&self, by: &By) -> By {
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
        let why = format!("plaintext callers of {of} dismissed");
        let state = self.clone();
        // Whoever asked may be gone before it is done; then it is done all the same, whole.
        let done = tokio::spawn(async move { state.end_waiting(Some(author), &why).await });
        done.await
            .map_err(|error| StoreError::Storage(Box::new(error)))??;
        Ok(SystemTime::now() + DISMISSED_FOR)
    }

    fn note_dismissed(&self, service: Option<ServiceName>) {
        let (now, until) = (Instant::now(), Instant::now() + DISMISSED_FOR);
        let mut dismissed = lock(&self.0.guard.dismissed);
        dismissed.services.retain(|_, until| now < *until);
        let mut reopened = lock(&self.0.guard.reopened);
        reopened.retain(|one, _| service.as_ref().is_some_and(|service| one != service));
        match service {
            Some(service) => drop(dismissed.services.insert(service, until)),
            None => dismissed.all = Some(until),
        }
    }

    /// Of services that take plaintext as they run: what becomes of their callers if `next` is in force as it is written.
    /// Somebody calls them, as far as is known, and was not dismissed.
    fn lock_outs(
        &self,
        running: &Configuration,
        next: &World,
    ) -> BTreeMap<ServiceName, (LockOut, Wait)> {
        let (guard, now) = (&self.0.guard, Instant::now());
        let inbound = &running.compiled.inbound;
        let mut called: BTreeMap<ServiceName, Wait> = BTreeMap::new();
        if self.unknown_until().is_some() {
            called.extend(
                inbound
                    .keys()
                    .map(|service| (service.clone(), Wait::Unknown)),
            );
        }
        let waits = running.world.still_permissive.iter();
        let waits = waits.filter(|(service, wait)| guard.may_be_called((service, **wait), now));
        called.extend(waits.map(|(service, _)| (service.clone(), Wait::Called)));
        let heard = lock(&self.0.registry).callers.letting_in(SystemTime::now());
        called.extend(heard.into_iter().map(|service| (service, Wait::Called)));
        called.retain(|service, _| {
            let of = inbound.get(service);
            of.is_some_and(|of| of.mtls == MtlsMode::Permissive)
                && !guard.is_dismissed(service, now)
        });
        if called.is_empty() {
            return BTreeMap::new();
        }
        let found = lock_outs((&running.compiled).into(), next, called.keys());
        let found = found.into_iter();
        found
            .filter_map(|(service, one)| {
                let wait = *called.get(&service)?;
                Some((service, (one, wait)))
            })
            .collect()
    }

    /// Notes in `next` which services still take plaintext in it, also those that did so in the revision `back` that is gone back
    /// to. Who is locked out all the same. Takes as long as a part of a compilation.
    pub(super) fn waits(
        &self,
        running: &Configuration,
        next: &mut World,
        (forced, back): (bool, Option<u64>),
    ) -> LockedOut {
        let mut locked = LockedOut {
            forced,
            ..LockedOut::default()
        };
        next.still_permissive.clear();
        for (service, (lock_out, wait)) in self.lock_outs(running, next) {
            match lock_out {
                LockOut::Waits if !forced => drop(next.still_permissive.insert(service, wait)),
                LockOut::Waits | LockOut::AtOnce => {
                    warn!(%service, forced, "is called in plaintext, and refuses that from now on");
                    locked.services.push(service);
                }
            }
        }
        let record = running
            .revisions
            .iter()
            .find(|one| Some(one.number) == back);
        if let (Some(record), false) = (record, forced) {
            let ran: BTreeSet<ServiceName> = record.still_permissive().into_keys().collect();
            let until = Instant::now() + FORGOTTEN_AFTER;
            for service in written_strict(next, &ran) {
                self.0.guard.reopen(service.clone(), until);
                next.still_permissive.insert(service, Wait::Called);
            }
        }
        locked
    }

    /// What would become of callers if `next` came now, in a line for each service; nothing about what waits already.
    pub(super) fn remarks_on_callers(&self, running: &Configuration, next: &World) -> Vec<String> {
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

    /// Until when nobody knows who calls.
    fn unknown_until(&self) -> Option<SystemTime> {
        // Other control planes' instances, with who calls them, are read a moment after the start.
        let is_unread = self.0.shared.is_some() && *self.0.position.borrow() == 0;
        let own = *lock(&self.0.guard.unknown_until);
        let own = own.filter(|(until, _)| Instant::now() < *until);
        let read = is_unread.then(|| SystemTime::now() + KNOWN_AFTER);
        own.map(|(_, until)| until).or(read)
    }

    /// The world in force, with the list of those that still take plaintext as it is now.
    async fn world_now(&self, running: &Arc<Configuration>) -> Result<World, StoreError> {
        let (state, running) = (self.clone(), Arc::clone(running));
        off_thread(move || {
            let mut world = running.world.clone();
            state.waits(&running, &mut world, (false, None));
            world
        })
        .await
    }

    /// Makes a revision in which services are `Strict` that nobody is in the way of any more. `author`: whose command that is;
    /// `None`: nobody's.
    async fn end_waiting(&self, author: Option<String>, why: &str) -> Result<(), StoreError> {
        // A store that was set back says what nobody wants until somebody says so.
        if author.is_none() && self.0.gap.load().is_some() {
            return Ok(());
        }
        let _writing = self.0.writer.lock().await;
        let mut current = self.0.configuration.load_full();
        let mut attempts = 0;
        loop {
            let (before, world) = (&current.world, self.world_now(&current).await?);
            if world.still_permissive == before.still_permissive {
                return Ok(());
            }
            let waited = before.still_permissive.keys();
            let released = waited.filter(|name| !world.still_permissive.contains_key(*name));
            let released: Vec<&ServiceName> = released.collect();
            let message = match released.is_empty() {
                true => {
                    "services are called in plaintext whose callers were not known yet".to_owned()
                }
                false => format!("{}: {why}", strict_now(&released)),
            };
            let newest = current.revisions.last();
            let by = By {
                origin: newest.map(|record| record.origin).unwrap_or_default(),
                author: author.clone().unwrap_or_default(),
                message,
                forced: false,
            };
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
                // Somebody has just decided; what is left to do is done in the next turn.
                Err(StoreError::Conflict { .. }) if author.is_none() => return Ok(()),
                Err(StoreError::Conflict { stored, expected }) if attempts <= CONFLICTS_MAX => {
                    current = self.overtaken(&current, (stored, expected)).await?;
                }
                done => {
                    done?;
                    info!(why = by.message, "what waited for callers in plaintext");
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

/// Has services be `Strict` as they are written when nobody is in the way any more.
pub(super) async fn watch_callers(state: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(state) = state.upgrade().map(State) else {
            return;
        };
        state.0.guard.look_at_clocks();
        let running = state.0.configuration.load_full();
        if running.world.still_permissive.is_empty() {
            continue;
        }
        let why = "nobody calls in plaintext any more";
        let done = async {
            let now = state.world_now(&running).await?;
            match now.still_permissive == running.world.still_permissive {
                true => Ok(()),
                false => state.end_waiting(None, why).await,
            }
        };
        if let Err(error) = done.await {
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
