//! Ready: identity, a first revision and our own policy are in, workers run, and we are not leaving; else why not.
//!
//! The application's health is no part of it: `/ready` is about the sidecar, callers are kept away by the registration.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use usher_config::value::ServiceName;

use super::standing::{Admission, Facts, Standing};
use crate::snapshot::{Snapshot, Store};

/// Asked by the metrics port, set by the control thread.
#[derive(Debug, Clone)]
pub struct Readiness {
    store: Arc<Store>,
    standing: Standing,
    serving: Arc<AtomicBool>,
    leaving: Arc<AtomicBool>,
    /// Of a gateway: how much of what it was first told to serve is served.
    served: Option<Arc<ArcSwap<Served>>>,
}

/// Of a gateway's first configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Served {
    /// All but this, in words for people.
    Lacking(Vec<String>),
    /// All, once.
    Whole,
}

/// Why traffic is not welcome, the first reason first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// The drain has begun.
    Leaving,
    /// We are nobody: what we wait for, if that is known.
    NoIdentity(Option<String>),
    /// Nothing has come from the control plane, and none was kept from an earlier run: what we wait for, if that is known.
    NoConfiguration(Option<String>),
    /// The control plane does not let our identity be our service: its words.
    Refused(String),
    /// Our own policy is not in: without it nobody is let in, and no intercepted connection out.
    NoPolicy,
    /// There is no Gateway of our name.
    NoGateway(ServiceName),
    /// Of the gateway's first configuration.
    Unserved(Vec<String>),
    /// The threads that carry requests are starting.
    Starting,
}

impl Readiness {
    /// Not yet. `gateway`: a Gateway has to be known too, and to have been served once as a whole ([`Self::lacks`]).
    pub fn new(store: Arc<Store>, standing: Standing, gateway: bool) -> Self {
        let served = || Arc::new(ArcSwap::from_pointee(Served::Lacking(Vec::new())));
        Self {
            store,
            standing,
            serving: Arc::default(),
            leaving: Arc::default(),
            served: gateway.then(served),
        }
    }

    /// Workers run.
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// What a gateway lacks of what it was first told to serve. Nothing, once, holds as long as there is a Gateway
    /// ([`Self::unserved`]): what later changes leave unserved is said ([`Facts::remarks`]), but ends nothing for the others.
    pub fn lacks(&self, lacks: Vec<String>) {
        let Some(served) = self.served.as_ref().filter(|_| !self.is_whole()) else {
            return;
        };
        served.store(Arc::new(if lacks.is_empty() {
            Served::Whole
        } else {
            Served::Lacking(lacks)
        }));
    }

    /// A gateway's Gateway is gone and its ports are closed: what it says next begins anew.
    pub fn unserved(&self) {
        if let Some(served) = &self.served {
            served.store(Arc::new(Served::Lacking(Vec::new())));
        }
    }

    /// Whether a gateway has once served all that its Gateway told it to.
    pub fn is_whole(&self) -> bool {
        let whole = |served: &Arc<ArcSwap<Served>>| **served.load() == Served::Whole;
        self.served.as_ref().is_none_or(whole)
    }

    /// Whoever sends us traffic should stop.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// `None`: traffic is welcome.
    pub fn unready(&self) -> Option<Unready> {
        if self.leaving.load(Ordering::Relaxed) {
            return Some(Unready::Leaving);
        }
        let facts = self.standing.load();
        let is_serving = self.serving.load(Ordering::Relaxed);
        if !is_serving && facts.identity.is_none() {
            return Some(Unready::NoIdentity(facts.waiting_for.clone()));
        }
        let served = self.served.as_ref().map(|served| served.load_full());
        let gateway = served.as_deref().map(|served| (self.store.own(), served));
        missing(&self.store.load(), &facts, gateway)
            .or_else(|| (!is_serving).then_some(Unready::Starting))
    }
}

/// What is not in, or not served. Pure. `gateway`: whose, and how much of it.
fn missing(
    snapshot: &Snapshot,
    facts: &Facts,
    gateway: Option<(&ServiceName, &Served)>,
) -> Option<Unready> {
    if snapshot.revision().is_none() {
        return Some(match &facts.admission {
            Admission::Refused(reason) => Unready::Refused(reason.clone()),
            Admission::Pending | Admission::Admitted => {
                Unready::NoConfiguration(facts.waiting_for.clone())
            }
        });
    }
    if snapshot.inbound().is_none() {
        return Some(Unready::NoPolicy);
    }
    let (name, served) = gateway?;
    if snapshot.gateway().is_none() {
        return Some(Unready::NoGateway(name.clone()));
    }
    match served {
        Served::Whole => None,
        Served::Lacking(lacks) => Some(Unready::Unserved(lacks.clone())),
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaving => f.write_str("it is leaving (drain)"),
            Self::NoIdentity(None) => f.write_str("no identity yet"),
            Self::NoIdentity(Some(cause)) => write!(f, "no identity yet: {cause}"),
            Self::NoConfiguration(None) => {
                f.write_str("no configuration yet: the control plane has sent none")
            }
            Self::NoConfiguration(Some(cause)) => write!(f, "no configuration yet: {cause}"),
            Self::Refused(reason) => {
                write!(
                    f,
                    "the control plane does not admit this identity: {reason}"
                )
            }
            Self::NoPolicy => {
                f.write_str("no policy of its own yet: the control plane has sent none")
            }
            Self::NoGateway(name) => write!(
                f,
                "there is no Gateway {name}: a gateway serves the Gateway and is run by the Workload of its name"
            ),
            Self::Unserved(lacks) if lacks.is_empty() => {
                f.write_str("its listeners are being bound")
            }
            Self::Unserved(lacks) => f.write_str(&lacks.join("\n  ")),
            Self::Starting => f.write_str("its workers are starting"),
        }
    }
}

#[cfg(test)]
mod tests;
