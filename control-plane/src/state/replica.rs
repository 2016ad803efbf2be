//! One of several control planes on one store: what others commit and register comes into force here too, and what is
//! written here goes through the store.
//!
//! While the store cannot be reached, what was known is served: the configuration in force stays, no instance is taken out,
//! and every write is refused with the reason.

mod committed;
mod events;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout, timeout_at},
};
use tracing::info;
use usher_config::value::InstanceName;

use crate::registry::{
    Store, StoreError,
    instances::{Instance, LeaseGone, NotRegistered, Renewal},
    shared::{EVENTS_MAX, Health, Registration, Shared, SharedError, WriteError},
};

use super::{NotWritten, Registry, State, configure::off_thread, lock};
pub(super) use committed::Gap;
use committed::follow_configuration;
use events::{acknowledge, follow_instances};

/// How long a write is waited for to come back as an event. It comes within milliseconds, or not as long as the store is
/// unreachable; it is made in any case.
const RETURN_MAX: Duration = Duration::from_secs(2);

/// How long the first look at all registrations may take at start.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(20);

/// An etcd that elects a leader, or starts again, is back sooner.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// How long a proxy stays that has come when the store was away already: another control plane may have it again, and this
/// one cannot know. Long, because if nobody has it all of them go round at this pace.
const ELSEWHERE_AFTER: Duration = Duration::from_secs(60);

impl State {
    /// The state of one of several control planes, with its tasks started; it knows all instances. Must be called in a
    /// tokio runtime.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn of_replica(
        store: Box<dyn Store>,
        shared: Arc<dyn Shared>,
    ) -> Result<Self, StoreError> {
        let following = Arc::clone(&shared);
        let state = off_thread(move || Self::start(store, Some(shared))).await??;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(following.follow(sender));
        let departures = state.0.departures.subscribe();
        tokio::spawn(acknowledge(following.clone(), departures));
        let weak = Arc::downgrade(&state.0);
        tokio::spawn(follow_instances(weak.clone(), events));
        tokio::spawn(follow_configuration(weak, following.committed()));
        let mut position = state.0.position.subscribe();
        let known = position.wait_for(|position| *position > 0);
        if timeout(FIRST_LOOK_MAX, known).await.is_err() {
            let why = format!("registrations were not read within {FIRST_LOOK_MAX:?}");
            return Err(SharedError::Unreachable { why }.into());
        }
        Ok(state)
    }

    /// Whether the shared store answers; `None`: there is none.
    pub fn store_health(&self) -> Option<Health> {
        let shared = self.0.shared.as_ref()?;
        Some(shared.health().borrow().clone())
    }

    /// Ends when the store was there and has now been away for [`LOST_AFTER`], or never was there for [`ELSEWHERE_AFTER`]:
    /// the proxies here go and ask elsewhere then. If nobody has it, they come back, and are served what was known.
    pub fn store_lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let health = self.0.shared.as_ref().map(|shared| shared.health());
        async move {
            match health {
                Some(health) => lost(health).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The other control planes need not wait for this one any more.
    pub async fn depart(&self) {
        if let Some(shared) = &self.0.shared {
            shared.depart().await;
        }
    }

    pub(super) async fn register_shared(
        &self,
        shared: &dyn Shared,
        name: &InstanceName,
        instance: Instance,
    ) -> Result<String, NotWritten> {
        is_there(shared)?;
        let (is_full, is_new) = {
            let registry = lock(&self.0.registry);
            let instances = &registry.instances;
            (instances.is_full(&name.service), !instances.contains(name))
        };
        if is_full && is_new {
            return Err(NotRegistered::TooMany.into());
        }
        let permits = |holder: &_| self.may_be(holder, &name.service);
        let address = instance.address;
        let written = shared.register(name, instance, &permits).await;
        let (lease, position) = written.map_err(|error| match error {
            WriteError::Held(holder) => NotRegistered::Taken { holder }.into(),
            other => not_written(other),
        })?;
        // It will come; only who asks at once may be told what was before.
        self.returned(position, soon()).await;
        info!(instance = %name, %address, "instance registered");
        Ok(lease)
    }

    pub(super) async fn renew_shared(
        &self,
        shared: &dyn Shared,
        name: &InstanceName,
        renewal: &Renewal<'_>,
    ) -> Result<(), NotWritten> {
        is_there(shared)?;
        let mut held = self.held(shared, name, renewal.lease).await?;
        let instance = &mut held.instance;
        if instance.identity != *renewal.identity {
            return Err(LeaseGone.into());
        }
        shared.renew(renewal.lease).await.map_err(not_written)?;
        let is_same = instance.healthy == renewal.healthy
            && instance.health_reason == renewal.health_reason
            && instance.revision == renewal.revision
            && renewal.callers.is_none_or(|told| *told == instance.callers);
        if is_same {
            return Ok(());
        }
        if instance.healthy != renewal.healthy {
            info!(instance = %name, healthy = renewal.healthy, "instance health changed");
        }
        instance.healthy = renewal.healthy;
        renewal
            .health_reason
            .clone_into(&mut instance.health_reason);
        instance.revision = renewal.revision;
        if let Some(callers) = renewal.callers {
            instance.callers = Arc::clone(callers);
        }
        let position = shared.update(&held).await.map_err(not_written)?;
        self.returned(position, soon()).await;
        Ok(())
    }

    /// The answer is the position of the departure.
    pub(super) async fn deregister_shared(
        &self,
        shared: &dyn Shared,
        name: &InstanceName,
        (lease, identity): (&str, &usher_config::value::SpiffeId),
    ) -> Result<u64, NotWritten> {
        is_there(shared)?;
        let held = self.held(shared, name, lease).await?;
        if held.instance.identity != *identity {
            return Err(LeaseGone.into());
        }
        let position = match shared.deregister(name, lease).await {
            Err(WriteError::LeaseGone) => self.forgotten(shared, held).await?,
            done => done.map_err(not_written)?,
        };
        info!(instance = %name, "instance deregistered");
        Ok(position)
    }

    /// The store does not have a registration that our table has: an attempt to take it out whose answer was lost has done
    /// it, or its lease has ended. The answer is the position from which on no table has it.
    async fn forgotten(&self, shared: &dyn Shared, held: Registration) -> Result<u64, NotWritten> {
        let Registration {
            name,
            instance,
            lease,
        } = held;
        if lock(&self.0.registry).instances.is_in_doubt(&name) {
            // So it is in the others' tables, too. It leaves all of them as one that is there; unless it was started again and
            // has come back through another control plane, and that was not heard of yet.
            let again = shared.register_absent(&name, instance).await;
            let (lease, _) = again.map_err(not_written)?;
            return shared.deregister(&name, &lease).await.map_err(not_written);
        }
        let holds = |registry: &Registry| {
            let leased = registry.instances.leased(&name);
            leased.map(|(_, lease)| lease.to_owned())
        };
        let mut position = self.0.position.subscribe();
        let is_heard = position.wait_for(|_| holds(&lock(&self.0.registry)) != Some(lease.clone()));
        let Ok(Ok(heard)) = timeout_at(soon().into(), is_heard).await else {
            return Err(unheard());
        };
        match holds(&lock(&self.0.registry)) {
            None => Ok(*heard),
            Some(_) => Err(LeaseGone.into()),
        }
    }

    /// What has this lease. It may have been registered elsewhere a moment ago, and not be known here yet.
    async fn held(
        &self,
        shared: &dyn Shared,
        name: &InstanceName,
        lease: &str,
    ) -> Result<Registration, NotWritten> {
        let known = || {
            let registry = lock(&self.0.registry);
            let (instance, holds) = registry.instances.leased(name)?;
            (holds == lease).then(|| Registration {
                name: name.clone(),
                instance: instance.clone(),
                lease: lease.to_owned(),
            })
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        let position = shared.position_of(name).await;
        let position = position.map_err(|error| not_written(error.into()))?;
        if !self.returned(position, soon()).await {
            return Err(unheard());
        }
        known().ok_or_else(|| LeaseGone.into())
    }

    /// Waits until our table has what was written at `position`, or until `deadline`; says which.
    pub(super) async fn returned(&self, position: u64, deadline: Instant) -> bool {
        let mut reached = self.0.position.subscribe();
        let reached = reached.wait_for(|reached| *reached >= position);
        let in_time = timeout_at(deadline.into(), reached).await;
        in_time.is_ok_and(|reached| reached.is_ok())
    }

    /// Whether the proxies of all the other control planes have applied what stands at `position`, or will have by
    /// `deadline`.
    pub(super) async fn others_applied(
        &self,
        shared: &dyn Shared,
        position: u64,
        deadline: Instant,
    ) -> bool {
        const LOOK: Duration = Duration::from_millis(100);
        loop {
            if shared.acknowledged(position).await == Ok(true) {
                return true;
            }
            if Instant::now() + LOOK >= deadline {
                return false;
            }
            sleep(LOOK).await;
        }
    }
}

fn unheard() -> NotWritten {
    let why = format!("what was written into it was not heard of within {RETURN_MAX:?}");
    NotWritten::Store(SharedError::Unreachable { why })
}

fn soon() -> Instant {
    Instant::now() + RETURN_MAX
}

async fn lost(mut health: watch::Receiver<Health>) {
    let is_there = |health: &Health| *health == Health::Reachable;
    let mut limit = ELSEWHERE_AFTER;
    loop {
        let seen = timeout(limit, health.wait_for(is_there)).await;
        let Ok(is_alive) = seen.map(|seen| seen.is_ok()) else {
            return;
        };
        if !is_alive || health.wait_for(|now| !is_there(now)).await.is_err() {
            return std::future::pending().await;
        }
        limit = LOST_AFTER;
    }
}

/// At once where the store is known to be away: whoever asked has more time left to ask another control plane before
/// his lease ends.
fn is_there(shared: &dyn Shared) -> Result<(), NotWritten> {
    match &*shared.health().borrow() {
        Health::Reachable => Ok(()),
        Health::Unreachable { why, .. } => {
            let why = why.clone();
            Err(NotWritten::Store(SharedError::Unreachable { why }))
        }
    }
}

fn not_written(error: WriteError) -> NotWritten {
    match error {
        WriteError::LeaseGone | WriteError::Held(_) => LeaseGone.into(),
        WriteError::Store(error) => NotWritten::Store(error),
    }
}

#[cfg(test)]
mod tests;
