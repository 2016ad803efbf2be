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

mod guard;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::{info, warn};
use usher_config::{model::MtlsMode, value::ServiceName};

use crate::{
    compile::modes::{LockOut, lock_outs, written_strict},
    registry::{StoreError, World, callers::FORGOTTEN_AFTER, store::Wait, world::Reading},
};

use super::{
    Configuration, Inner, State,
    apply::{By, CONFLICTS_MAX},
    configure::{Next, off_thread},
    lock,
};

pub(super) use guard::Guard;
use told::{LockedOut, strict_now};

/// After a start, until sidecars have said who calls them: those that were connected register again within 10 s, or a few
/// times that where thousands do at once.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(60);

/// How long a dismissal holds: for a change that is made at once, before or after it. Who calls afterwards is listed anew.
pub const DISMISSED_FOR: Duration = Duration::from_secs(600);

/// How late it is noticed that nobody is in the way any more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The reason of the condition.
pub(super) const REASON: &str = "PlaintextCallers";

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
