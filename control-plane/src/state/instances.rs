//! Instances come and go. Whether an identity may be a service was asked before ([`State::may_be`]).
//!
//! Those of a control plane that has its store alone are in its memory only ([`State::register`] and so on); those of
//! several go through their store, and the table follows it. The registry service asks for either by [`State::enter`],
//! [`State::stay`] and [`State::leave`].

use std::{
    sync::atomic::Ordering,
    time::{Instant, SystemTime},
};

use tracing::info;
use usher_config::{
    model::Endpoint,
    value::{InstanceName, ServiceName, SpiffeId},
};

use crate::{
    registry::{
        instances::{Effect, Instance, LeaseGone, NotRegistered, Renewal},
        shared::SharedError,
    },
    snapshot::endpoints_of,
};

use super::{Registry, SETTLING, State, lock};

/// As many as a large mesh has endpoints. Whatever is beyond it is forgotten by proxies when settling ends.
const WITHDRAWN_MAX: usize = 100_000;

/// Why a registration is not made, prolonged or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// It may not be made.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// There is none.
    #[error(transparent)]
    LeaseGone(#[from] LeaseGone),
    /// The store that several control planes share.
    #[error(transparent)]
    Store(#[from] SharedError),
}

/// An instance has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// From this generation on nobody is told of it.
    Alone(u64),
    /// It stands at this position of a shared store; from which generation on nobody here is told of it is known once
    /// our table is there.
    Shared(u64),
}

impl State {
    /// Takes an instance in and returns its lease.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn enter(
        &self,
        name: &InstanceName,
        instance: Instance,
    ) -> Result<String, NotWritten> {
        match self.0.shared.clone() {
            Some(shared) => self.register_shared(&*shared, name, instance).await,
            None => Ok(self.register(name, instance)?),
        }
    }

    /// Prolongs a lease.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn stay(&self, name: &InstanceName, renewal: &Renewal<'_>) -> Result<(), NotWritten> {
        match self.0.shared.clone() {
            Some(shared) => self.renew_shared(&*shared, name, renewal).await,
            None => Ok(self.renew(name, renewal)?),
        }
    }

    /// Takes an instance out.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn leave(
        &self,
        name: &InstanceName,
        lease: &str,
        identity: &SpiffeId,
    ) -> Result<Departure, NotWritten> {
        let holder = (lease, identity);
        Ok(match self.0.shared.clone() {
            Some(shared) => {
                Departure::Shared(self.deregister_shared(&*shared, name, holder).await?)
            }
            None => Departure::Alone(self.deregister(name, lease, identity)?),
        })
    }

    /// Waits until every proxy that was told of an instance has dropped it, or until `deadline`; says which.
    pub async fn has_left(
        &self,
        service: &ServiceName,
        departure: Departure,
        deadline: Instant,
    ) -> bool {
        let generation = match departure {
            Departure::Alone(generation) => generation,
            Departure::Shared(position) if self.returned(position, deadline).await => {
                self.0.generation.load(Ordering::SeqCst)
            }
            // The proxies here were not told yet.
            Departure::Shared(_) => return false,
        };
        let (service, connected) = (service.to_string(), &self.0.connected);
        if !connected.all_applied(&service, generation, deadline).await {
            return false;
        }
        match (self.0.shared.clone(), departure) {
            (Some(shared), Departure::Shared(position)) => {
                self.others_applied(&*shared, position, deadline).await
            }
            _ => true,
        }
    }

    /// Whether the instance's pod was asked to end: it should drain now. Only its own identity is told.
    pub fn should_leave(&self, name: &InstanceName, identity: &SpiffeId) -> bool {
        let registry = lock(&self.0.registry);
        let placed = &registry.instances.placed;
        let Some(instance) = registry.instances.get(&name.service, &name.instance) else {
            return false;
        };
        // A machine may have a pod's name.
        placed.is_of_pods(identity)
            && placed.ends(identity, (&name.instance, instance.address.ip()))
    }

    /// Every service's endpoints, now.
    pub fn endpoints(&self) -> Vec<(ServiceName, Vec<Endpoint>)> {
        let configuration = self.0.configuration.load();
        let registry = lock(&self.0.registry);
        let compiled = &configuration.compiled;
        let of = |name: &ServiceName| endpoints_of(compiled, &registry.instances, name);
        compiled
            .services
            .keys()
            .map(|name| (name.clone(), of(name)))
            .collect()
    }

    /// Takes an instance in and returns its lease. Whether it may be one was the caller's to ask.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub fn register(
        &self,
        name: &InstanceName,
        instance: Instance,
    ) -> Result<String, NotRegistered> {
        let lease = uuid::Uuid::new_v4().simple().to_string();
        let (address, now) = (instance.address, Instant::now());
        let callers = instance.callers.clone();
        let configuration = self.0.configuration.load();
        let mut registry = lock(&self.0.registry);
        let holder = registry.instances.holder(name, now);
        // Whom configuration does not let be this service any more holds no name of it.
        if holder.is_some_and(|holder| !configuration.compiled.may_be(holder, &name.service)) {
            registry.instances.evict(name);
        }
        registry
            .instances
            .register(name, instance, lease.clone(), now)?;
        registry
            .callers
            .hear(&name.service, &callers, SystemTime::now());
        registry.dirty.insert(name.service.clone());
        registry.withdrawn.remove(&name.to_string());
        drop(registry);
        info!(instance = %name, %address, "instance registered");
        self.changed();
        Ok(lease)
    }

    /// Prolongs a lease.
    ///
    /// # Errors
    /// [`LeaseGone`].
    pub fn renew(&self, name: &InstanceName, renewal: &Renewal<'_>) -> Result<(), LeaseGone> {
        let mut registry = lock(&self.0.registry);
        let effect = registry.instances.renew(name, renewal, Instant::now())?;
        if let Some(callers) = renewal.callers {
            registry
                .callers
                .hear(&name.service, callers, SystemTime::now());
        }
        if effect == Effect::Changed {
            info!(instance = %name, healthy = renewal.healthy, "instance health changed");
            registry.dirty.insert(name.service.clone());
            drop(registry);
            self.changed();
        }
        Ok(())
    }

    /// Takes an instance out; the answer is the generation from which nobody is told of it. A lease from before our
    /// start counts where nobody but the caller's account may have held it: whose it was is not remembered.
    ///
    /// # Errors
    /// [`LeaseGone`]: somebody else has this name now, or nobody.
    pub fn deregister(
        &self,
        name: &InstanceName,
        lease: &str,
        identity: &SpiffeId,
    ) -> Result<u64, LeaseGone> {
        let configuration = self.0.configuration.load();
        let mut registry = lock(&self.0.registry);
        if let Err(gone) = registry.instances.deregister(name, lease, identity) {
            let settling = self.0.started.elapsed() < SETTLING;
            let backing = configuration.compiled.backing.get(&name.service);
            let alone = backing.is_some_and(|all| all.iter().all(|one| one.identity == *identity));
            if !settling || !alone || registry.instances.contains(name) {
                return Err(gone);
            }
            // Proxies that resumed with it must drop it all the same.
        }
        info!(instance = %name, "instance deregistered");
        self.withdraw(&mut registry, name);
        registry.dirty.insert(name.service.clone());
        drop(registry);
        Ok(self.changed())
    }

    /// Notes that an instance is really gone, as long as its mere absence says nothing.
    pub(super) fn withdraw(&self, registry: &mut Registry, name: &InstanceName) {
        if self.0.started.elapsed() < SETTLING && registry.withdrawn.len() < WITHDRAWN_MAX {
            registry.withdrawn.insert(name.to_string());
        }
    }
}
