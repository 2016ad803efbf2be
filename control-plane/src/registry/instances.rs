//! Instances and their leases. Pure: `now` is an argument, nothing here waits or writes.
//!
//! An instance lives as long as its sidecar renews its lease; three missed renewals end it. Whether an
//! identity may register at all was decided before ([`crate::state::State::may_be`]): registration never makes
//! anybody a service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use usher_config::value::{InstanceName, Name, ServiceName, SpiffeId};

use super::{callers::Heard, places::Places, shared::Registration};

/// How long an instance lives without a renewal: three renewals at a third of it, so that one lost packet or a
/// short pause takes nobody out.
pub const LEASE: Duration = Duration::from_secs(15);

/// Instances of one service: far above any real one, so that a leaked credential cannot fill the memory.
pub const INSTANCES_MAX: usize = 10_000;

/// One registered instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its sidecar's inbound listener.
    pub address: SocketAddr,
    /// It registered from that address: whoever dials it means this instance.
    pub address_is_own: bool,
    /// Its sidecar's verdict on its application.
    pub healthy: bool,
    /// What the failing check got; empty when healthy, or when nobody said. For people only.
    pub health_reason: String,
    /// Where it runs; empty when nobody said.
    pub zone: String,
    /// Who registered it, verified.
    pub identity: SpiffeId,
    /// The configuration its sidecar said it runs; 0: did not say.
    pub revision: u64,
    /// Who has called it without the mesh's TLS, as its sidecar said last; callers are not told.
    pub callers: Heard,
}

impl Instance {
    /// Whether callers see no difference.
    fn is_seen_as(&self, other: &Self) -> bool {
        let told = Self {
            health_reason: other.health_reason.clone(),
            revision: other.revision,
            callers: other.callers.clone(),
            ..self.clone()
        };
        told == *other
    }
}

#[derive(Debug)]
struct Leased {
    instance: Instance,
    lease: String,
    /// `None`: a store that several control planes share ends it, as long as it knows it.
    expires: Option<Instant>,
}

impl Leased {
    fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// All instances of a mesh.
#[derive(Debug, Default)]
pub struct Instances {
    leased: BTreeMap<ServiceName, BTreeMap<Name, Leased>>,
    /// Where instances are, as a cluster says; nothing off Kubernetes.
    pub placed: Places,
}

/// The lease is not known: expired, replaced by a newer registration, or from another server. Register again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such lease; register again")]
pub struct LeaseGone;

/// Why an instance is not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// The service has as many instances as one may have.
    #[error("the service has {INSTANCES_MAX} instances, no more are accepted")]
    TooMany,
    /// A name belongs to who registered it, for as long as its lease lives.
    #[error(
        "the instance name is held by {holder}; use another name, or wait until its lease has ended"
    )]
    Taken {
        /// Who registered it.
        holder: SpiffeId,
    },
}

/// Whether callers must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What callers see has changed.
    Changed,
    /// Only the lease.
    Unchanged,
}

impl Instances {
    /// Takes an instance in, or replaces the one of that name and identity: a restarted sidecar need not wait for its
    /// old lease.
    ///
    /// # Errors
    /// [`NotRegistered`].
    pub fn register(
        &mut self,
        name: &InstanceName,
        instance: Instance,
        lease: String,
        now: Instant,
    ) -> Result<(), NotRegistered> {
        if let Some(holder) = self.holder(name, now)
            && *holder != instance.identity
        {
            let holder = holder.clone();
            return Err(NotRegistered::Taken { holder });
        }
        let siblings = self.leased.entry(name.service.clone()).or_default();
        if siblings.len() >= INSTANCES_MAX && !siblings.contains_key(&name.instance) {
            return Err(NotRegistered::TooMany);
        }
        let leased = Leased {
            instance,
            lease,
            expires: Some(now + LEASE),
        };
        siblings.insert(name.instance.clone(), leased);
        self.placed.came(name);
        Ok(())
    }

    /// Prolongs a lease and takes in what the sidecar says with it.
    ///
    /// # Errors
    /// [`LeaseGone`].
    pub fn renew(
        &mut self,
        name: &InstanceName,
        renewal: &Renewal<'_>,
        now: Instant,
    ) -> Result<Effect, LeaseGone> {
        let leased = self
            .leased
            .get_mut(&name.service)
            .and_then(|siblings| siblings.get_mut(&name.instance))
            .filter(|leased| leased.lease == renewal.lease && !leased.is_over(now))
            .filter(|leased| leased.instance.identity == *renewal.identity)
            .ok_or(LeaseGone)?;
        leased.expires = Some(now + LEASE);
        leased.instance.revision = renewal.revision;
        let effect = if leased.instance.healthy == renewal.healthy {
            Effect::Unchanged
        } else {
            Effect::Changed
        };
        leased.instance.healthy = renewal.healthy;
        if leased.instance.health_reason != renewal.health_reason {
            leased.instance.health_reason = renewal.health_reason.to_owned();
        }
        if let Some(callers) = renewal.callers {
            leased.instance.callers = Arc::clone(callers);
        }
        Ok(effect)
    }

    /// Who holds a name now.
    pub fn holder(&self, name: &InstanceName, now: Instant) -> Option<&SpiffeId> {
        let leased = self.leased.get(&name.service)?.get(&name.instance)?;
        (!leased.is_over(now)).then_some(&leased.instance.identity)
    }

    /// Takes an instance out whose identity may not have the name any more.
    pub fn evict(&mut self, name: &InstanceName) {
        if let Some(siblings) = self.leased.get_mut(&name.service) {
            siblings.remove(&name.instance);
        }
    }

    /// Takes an instance out, if `identity` registered it and the lease is the one it holds.
    ///
    /// # Errors
    /// [`LeaseGone`].
    pub fn deregister(
        &mut self,
        name: &InstanceName,
        lease: &str,
        identity: &SpiffeId,
    ) -> Result<(), LeaseGone> {
        let siblings = self.leased.get_mut(&name.service).ok_or(LeaseGone)?;
        match siblings.get(&name.instance) {
            Some(leased) if leased.lease == lease && leased.instance.identity == *identity => {
                siblings.remove(&name.instance);
                if siblings.is_empty() {
                    self.leased.remove(&name.service);
                }
                self.placed.left(name);
                Ok(())
            }
            _ => Err(LeaseGone),
        }
    }

    /// Takes in what a shared store says, which ends it too.
    pub fn put(&mut self, registration: Registration) -> Effect {
        let Registration {
            name,
            instance,
            lease,
        } = registration;
        let siblings = self.leased.entry(name.service).or_default();
        let known = siblings.get(&name.instance);
        let is_same = known.is_some_and(|known| known.instance.is_seen_as(&instance));
        let leased = Leased {
            instance,
            lease,
            expires: None,
        };
        siblings.insert(name.instance, leased);
        if is_same {
            Effect::Unchanged
        } else {
            Effect::Changed
        }
    }

    /// Gives all but these the time of a lease to be written again, once: the store has forgotten them, and their sidecars
    /// learn of it when they renew.
    pub fn doubt(&mut self, written: &BTreeSet<&InstanceName>, now: Instant) {
        for (service, siblings) in &mut self.leased {
            for (instance, leased) in siblings {
                let (service, instance) = (service.clone(), instance.clone());
                if !written.contains(&InstanceName { service, instance }) {
                    leased.expires.get_or_insert(now + LEASE);
                }
            }
        }
    }

    /// The same for one.
    pub fn doubt_one(&mut self, name: &InstanceName, now: Instant) {
        let siblings = self.leased.get_mut(&name.service);
        if let Some(leased) = siblings.and_then(|siblings| siblings.get_mut(&name.instance)) {
            leased.expires.get_or_insert(now + LEASE);
        }
    }

    /// Whether an instance of a shared store is there for no other reason than [doubt](Self::doubt).
    pub fn is_in_doubt(&self, name: &InstanceName) -> bool {
        let siblings = self.leased.get(&name.service);
        let leased = siblings.and_then(|siblings| siblings.get(&name.instance));
        leased.is_some_and(|leased| leased.expires.is_some())
    }

    /// Takes out all but these and what is in [doubt](Self::doubt), and names them.
    pub fn keep_only(&mut self, kept: &BTreeSet<&InstanceName>) -> Vec<InstanceName> {
        let all = self.leased.iter().flat_map(|(service, siblings)| {
            let sure = siblings
                .iter()
                .filter(|(_, leased)| leased.expires.is_none());
            sure.map(|(instance, _)| InstanceName {
                service: service.clone(),
                instance: instance.clone(),
            })
        });
        let gone: Vec<InstanceName> = all.filter(|name| !kept.contains(name)).collect();
        for name in &gone {
            self.evict(name);
        }
        gone
    }

    /// What is known of an instance, and the lease it holds.
    pub fn leased(&self, name: &InstanceName) -> Option<(&Instance, &str)> {
        let leased = self.leased.get(&name.service)?.get(&name.instance)?;
        Some((&leased.instance, &leased.lease))
    }

    /// Whether a service has as many instances as one may have.
    pub fn is_full(&self, service: &ServiceName) -> bool {
        let siblings = self.leased.get(service);
        siblings.is_some_and(|siblings| siblings.len() >= INSTANCES_MAX)
    }

    /// Takes out what has not been renewed, and names it.
    pub fn expire(&mut self, now: Instant) -> Vec<InstanceName> {
        let mut expired = Vec::new();
        self.leased.retain(|service, siblings| {
            siblings.retain(|instance, leased| {
                let alive = !leased.is_over(now);
                if !alive {
                    let (service, instance) = (service.clone(), instance.clone());
                    expired.push(InstanceName { service, instance });
                }
                alive
            });
            !siblings.is_empty()
        });
        expired
    }

    /// How many there are, expired ones that nobody has taken out yet among them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.leased
            .values()
            .map(|siblings| siblings.len().max(1))
            .sum()
    }

    /// One of a service.
    pub fn get(&self, service: &ServiceName, instance: &Name) -> Option<&Instance> {
        let leased = self.leased.get(service)?.get(instance)?;
        Some(&leased.instance)
    }

    /// Whether there is an instance of that name, whoever holds its lease.
    pub fn contains(&self, name: &InstanceName) -> bool {
        self.leased
            .get(&name.service)
            .is_some_and(|siblings| siblings.contains_key(&name.instance))
    }

    /// The instances of a service, by name.
    pub fn of(&self, service: &ServiceName) -> impl Iterator<Item = (&Name, &Instance)> {
        self.leased
            .get(service)
            .into_iter()
            .flatten()
            .map(|(name, leased)| (name, &leased.instance))
    }
}

/// What a sidecar says when it renews.
#[derive(Debug, Clone, Copy)]
pub struct Renewal<'a> {
    /// The lease it holds.
    pub lease: &'a str,
    /// Who renews, verified.
    pub identity: &'a SpiffeId,
    /// Its verdict on its application.
    pub healthy: bool,
    /// What the failing check got; callers are not told.
    pub health_reason: &'a str,
    /// The configuration it runs.
    pub revision: u64,
    /// Who has called it without the mesh's TLS; `None`: nothing new.
    pub callers: Option<&'a Heard>,
}

#[cfg(test)]
mod tests;
