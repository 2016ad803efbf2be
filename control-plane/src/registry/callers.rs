//! Who calls services without the mesh's TLS, as their own sidecars tell it. Pure: `now` is an argument.
//!
//! What two sidecars, or one sidecar twice, say of a caller is laid over one another: the earliest first time, the latest
//! last time. So it does not matter in which order, how often or through which control plane it is heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use usher_config::{
    model::PlaintextCallers,
    value::{Port, ServiceName},
};

/// How long a caller is listed after it was last seen. A day, as sidecars remember it: what runs every night is still
/// listed in the morning, and who has moved into the mesh holds nobody up for longer. What runs once a week is not known.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Callers of one service; the one seen longest ago goes for another. As many as one sidecar remembers.
pub const PER_SERVICE_MAX: usize = 1_000;

/// Callers of all services: 100 bytes each. Beyond it the service with the most callers loses the one seen longest ago, so
/// that none can crowd out the others.
pub const ALL_MAX: usize = 50_000;

/// A caller of a service, as it is kept. Times are whole seconds of the control plane's clock that heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// Where its connections come from.
    pub address: IpAddr,
    /// Which of the service's ports it called; 0: none of them.
    pub port: u16,
    /// When its first connection began, in seconds since 1970.
    pub first: u64,
    /// When its last one ended.
    pub last: u64,
    /// When one was refused last for want of mutual TLS; `None`: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// When one was let in last; `None`: none was, or an older sidecar did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub let_in: Option<u64>,
}

impl Caller {
    /// Whether `Strict` would take something from it: it was let in, not refused since, and at a port that the service has. At
    /// any other it gets nothing, whatever the mode.
    pub fn is_let_in(&self) -> bool {
        let since = match self.let_in {
            // Of one second: rather let in.
            Some(let_in) => self.refused.is_none_or(|refused| let_in >= refused),
            None => self.refused.is_none(),
        };
        since && self.port != 0
    }
}

/// What one sidecar says.
pub type Heard = Arc<[Caller]>;

/// What was said at `now`, without who would be forgotten already.
pub fn heard(told: &PlaintextCallers, now: SystemTime) -> Heard {
    let now = seconds(now);
    let at = |ago: Duration| now.saturating_sub(ago.as_secs());
    let told = told.0.iter();
    let told = told.filter(|one| one.last_seen < FORGOTTEN_AFTER);
    told.map(|one| Caller {
        address: one.address.to_canonical(),
        port: one.port.map_or(0, Port::get),
        first: at(one.first_seen),
        last: at(one.last_seen),
        refused: one.refused.map(at),
        let_in: one.let_in.map(at),
    })
    .collect()
}

/// Callers by service.
#[derive(Debug, Default)]
pub struct Callers {
    by_service: BTreeMap<ServiceName, BTreeMap<(IpAddr, u16), Caller>>,
    count: usize,
}

impl Callers {
    /// Takes in what a sidecar of `service` says. Of times to come nobody knows anything: they are now.
    pub fn hear(&mut self, service: &ServiceName, told: &[Caller], now: SystemTime) {
        let now = seconds(now);
        for caller in told.iter().filter(|one| !is_over(one, now)) {
            let known = self.by_service.entry(service.clone()).or_default();
            let one = known
                .entry((caller.address, caller.port))
                .or_insert_with(|| {
                    self.count += 1;
                    *caller
                });
            one.first = one.first.min(caller.first);
            one.last = one.last.max(caller.last).min(now);
            one.refused = one.refused.max(caller.refused).map(|at| at.min(now));
            one.let_in = one.let_in.max(caller.let_in).map(|at| at.min(now));
            if known.len() > PER_SERVICE_MAX {
                self.forget_one(&service.clone());
            } else if self.count > ALL_MAX {
                let largest = self.by_service.iter().max_by_key(|(_, known)| known.len());
                if let Some(largest) = largest.map(|(service, _)| service.clone()) {
                    self.forget_one(&largest);
                }
            }
        }
    }

    /// Those of a service at `now`, who was seen last first.
    pub fn of(&self, service: &ServiceName, now: SystemTime) -> Vec<Caller> {
        let now = seconds(now);
        let known = self.by_service.get(service).into_iter().flatten();
        let known = known.map(|(_, caller)| *caller);
        let mut listed: Vec<Caller> = known.filter(|one| !is_over(one, now)).collect();
        listed.sort_by_key(|one| (std::cmp::Reverse(one.last), one.address, one.port));
        listed
    }

    /// Services that have some, or had until a moment ago.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_service.keys()
    }

    /// Services at `now`, with how many callers each has.
    pub fn counts(&self, now: SystemTime) -> impl Iterator<Item = (&ServiceName, usize)> {
        let now = seconds(now);
        let counts = self.by_service.iter().map(move |(service, known)| {
            let listed = known.values().filter(|one| !is_over(one, now));
            (service, listed.count())
        });
        counts.filter(|(_, count)| *count > 0)
    }

    /// Services that let somebody in whom `Strict` would lock out.
    pub fn letting_in(&self, now: SystemTime) -> BTreeSet<ServiceName> {
        let now = seconds(now);
        let lets = |known: &BTreeMap<_, Caller>| {
            let mut listed = known.values().filter(|one| !is_over(one, now));
            listed.any(Caller::is_let_in)
        };
        let all = self.by_service.iter().filter(|(_, known)| lets(known));
        all.map(|(service, _)| service.clone()).collect()
    }

    /// Takes out whose time is over.
    pub fn forget(&mut self, now: SystemTime) {
        let now = seconds(now);
        self.by_service.retain(|_, known| {
            known.retain(|_, caller| !is_over(caller, now));
            !known.is_empty()
        });
        self.count = self.by_service.values().map(BTreeMap::len).sum();
    }

    fn forget_one(&mut self, service: &ServiceName) {
        let Some(known) = self.by_service.get_mut(service) else {
            return;
        };
        let oldest = known
            .iter()
            .min_by_key(|(who, caller)| (caller.last, **who));
        if let Some(who) = oldest.map(|(who, _)| *who) {
            known.remove(&who);
            self.count = self.count.saturating_sub(1);
        }
    }
}

fn is_over(caller: &Caller, now: u64) -> bool {
    now.saturating_sub(caller.last) >= FORGOTTEN_AFTER.as_secs()
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The moment of a [`Caller`]'s time.
pub fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
