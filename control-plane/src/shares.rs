//! So many places, of which nobody gets all: one asker has a share, and each kind of asker leaves some to the others.
//!
//! Two bounds, since either alone is not enough. A share per asker holds up one machine that asks too much. But who can
//! take many addresses is many askers, and everybody on this machine is one (loopback says no more about who it is): what
//! a kind leaves is for those whom the others cannot pose as. No packet from elsewhere comes over loopback, and nobody
//! has an identity without proof.

pub mod lines;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use usher_config::value::SpiffeId;

/// Who wants a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asker {
    /// Anybody on this machine: whoever comes over loopback.
    Here,
    /// Whoever is at this address; of IPv6, in this network of 64 bits, which is what one machine has (RFC 6177).
    At(IpAddr),
    /// Whoever has proven to be it.
    Proven(SpiffeId),
}

/// Askers that may be one in disguise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Here,
    At,
    Proven,
}

/// How many places there are, and who may have how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// All there are.
    pub all: usize,
    /// What one asker may have. Those on this machine are not one: what their kind may have is theirs.
    pub each: usize,
    /// What each kind leaves to the others.
    pub reserve: usize,
}

/// The places.
#[derive(Debug, Clone)]
pub struct Shares {
    bounds: Bounds,
    taken: Arc<Mutex<Taken>>,
}

/// Only of those who have any: what is remembered is bounded as the places are.
#[derive(Debug, Default)]
struct Taken {
    each: HashMap<Asker, usize>,
    kinds: HashMap<Kind, usize>,
}

/// Held until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place {
    asker: Asker,
    taken: Arc<Mutex<Taken>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The asker has its share.
    Share,
    /// Others have what there is.
    All,
}

impl Asker {
    /// Who comes from there.
    pub fn at(address: IpAddr) -> Self {
        let address = address.to_canonical();
        match address {
            here if here.is_loopback() => Self::Here,
            IpAddr::V4(_) => Self::At(address),
            IpAddr::V6(host) => {
                let network = host.to_bits() & !u128::from(u64::MAX);
                Self::At(Ipv6Addr::from_bits(network).into())
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Here => Kind::Here,
            Self::At(_) => Kind::At,
            Self::Proven(_) => Kind::Proven,
        }
    }
}

impl Shares {
    /// All free.
    pub fn new(bounds: Bounds) -> Self {
        let taken = Arc::default();
        Self { bounds, taken }
    }

    /// A place, at once or not at all.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, asker: &Asker) -> Result<Place, Full> {
        let Bounds { all, each, reserve } = self.bounds;
        let kind = asker.kind();
        let most = all.saturating_sub(reserve);
        let mut taken = lock(&self.taken);
        let own = taken.each.get(asker).copied().unwrap_or_default();
        if own >= if kind == Kind::Here { most } else { each } {
            return Err(Full::Share);
        }
        let of_kind = taken.kinds.get(&kind).copied().unwrap_or_default();
        if of_kind >= most || taken.kinds.values().sum::<usize>() >= all {
            return Err(Full::All);
        }
        taken.each.insert(asker.clone(), own + 1);
        taken.kinds.insert(kind, of_kind + 1);
        Ok(Place {
            asker: asker.clone(),
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(own) = taken.each.get_mut(&self.asker) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.each.remove(&self.asker);
            }
        }
        if let Some(of_kind) = taken.kinds.get_mut(&self.asker.kind()) {
            *of_kind = of_kind.saturating_sub(1);
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
