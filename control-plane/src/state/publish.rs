//! The tasks that move the state: changes become snapshots, leases end.
//!
//! They hold the state weakly and end with it.

use std::{
    sync::{Weak, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::watch, time::sleep_until};
use tracing::info;

use crate::{
    snapshot::{Debounce, Registered, build},
    xds::Changes,
};

use super::{Inner, SETTLING, State, configure::off_thread, lock};

/// How late an expired lease may be noticed.
const LEASE_TICK: Duration = Duration::from_millis(500);

/// In how many of these looks callers are taken out that nobody is shown any more.
const FORGET_EVERY: u32 = 120;

/// Makes a snapshot once a burst of changes is over.
pub(super) async fn publish_changes(state: Weak<Inner>, mut changes: watch::Receiver<u64>) {
    let mut burst = Debounce::default();
    let Some(mut settled) = state.upgrade().map(|state| Some(state.started + SETTLING)) else {
        return;
    };
    loop {
        let wake = [burst.due(), settled].into_iter().flatten().min();
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => burst.changed(Instant::now()),
                Err(_) => return,
            },
            () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {
                let Some(state) = state.upgrade().map(State) else { return };
                let now = Instant::now();
                burst.done();
                settled = settled.filter(|at| *at > now);
                // Encoding a large mesh takes a while; an error is a panic in it, which has been logged.
                let _ = off_thread(move || state.publish(now)).await;
            }
        }
    }
}

/// Takes out instances that no longer renew.
pub(super) async fn end_leases(state: Weak<Inner>) {
    let mut ticks = 0_u32;
    loop {
        tokio::time::sleep(LEASE_TICK).await;
        let Some(state) = state.upgrade().map(State) else {
            return;
        };
        let mut registry = lock(&state.0.registry);
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(FORGET_EVERY) {
            registry.callers.forget(SystemTime::now());
        }
        let expired = registry.instances.expire(Instant::now());
        for name in &expired {
            info!(instance = %name, "instance did not renew its lease");
            registry.dirty.insert(name.service.clone());
            state.withdraw(&mut registry, name);
        }
        drop(registry);
        if !expired.is_empty() {
            state.changed();
        }
    }
}

impl State {
    /// Makes the next snapshot of everything that has changed up to now.
    pub(super) fn publish(&self, now: Instant) {
        let _publishing = lock(&self.0.publishing);
        // Before looking: what changes while we look belongs to the next generation too.
        let generation = self.0.generation.load(Ordering::SeqCst);
        let previous = self.0.snapshots.borrow().clone();
        let configuration = self.0.configuration.load_full();
        let bundle = lock(&self.0.bundle).clone();
        let mut registry = lock(&self.0.registry);
        let dirty = std::mem::take(&mut registry.dirty);
        let from = Registered {
            compiled: &configuration.compiled,
            configured: &configuration.configured,
            instances: &registry.instances,
            dirty: &dirty,
            trust_bundle: bundle.as_ref(),
        };
        let mut next = build(&previous, generation, from);
        let is_young = now < self.0.started + SETTLING && !registry.is_settled;
        next.settling = registry.awaits_cluster || is_young;
        if !next.settling {
            registry.withdrawn.clear();
        }
        next.withdrawn.clone_from(&registry.withdrawn);
        drop(registry);
        let changes = Changes::between(&previous, &next);
        self.0.snapshots.send_replace(next.into());
        self.0.connected.published(&changes);
    }
}
