//! What several control planes of one mesh share beside its configuration: who is registered, who is there, and whether
//! the store can be reached at all.
//!
//! There is one order of events, the store's. A write is not put into a control plane's own table by whoever makes it: it
//! comes back as an event like everybody else's, and the writer waits until it has. So all tables go through the same
//! states, and none shows an instance that another one has already taken out.

use std::{collections::BTreeSet, fmt, time::SystemTime};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use usher_config::{
    model::Revision,
    value::{InstanceName, SpiffeId},
};

use super::instances::Instance;

/// Batches of events that wait to be taken in. More: the store is read more slowly, nothing is lost.
pub const EVENTS_MAX: usize = 64;

/// A registration as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Whose.
    pub name: InstanceName,
    /// What it said.
    pub instance: Instance,
    /// What its sidecar renews it with.
    pub lease: String,
}

/// What has happened to registrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These are all there are: whatever else was known is gone.
    All(Vec<Registration>),
    /// As [`Self::All`], in a store that is not known to have had what was heard of it: it was set back, whatever its
    /// position is.
    Anew(Vec<Registration>),
    /// As [`Self::All`], after a time in which the store was silent for so long that leases may have ended only because
    /// nobody here could renew them: from now on, for the time of a lease, who is missing may be there all the same.
    Missed(Vec<Registration>),
    /// A new one, or a new version.
    Put(Box<Registration>),
    /// It has left; and the position of that.
    Gone(InstanceName, u64),
    /// Nobody has renewed its lease; and the position of its end.
    Lapsed(InstanceName, u64),
}

/// Events in the store's order.
#[derive(Debug)]
pub struct Batch {
    /// All writes up to this position are in this batch or were in those before it.
    pub position: u64,
    /// In order.
    pub events: Vec<Event>,
}

/// Which events all proxies of a control plane have applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// All up to here, ...
    pub up_to: u64,
    /// ... but for those at these positions, which some proxy has not applied yet.
    #[serde(default)]
    pub behind: BTreeSet<u64>,
}

impl Acknowledgement {
    /// Whether what stands at `position` is applied.
    pub fn covers(&self, position: u64) -> bool {
        position <= self.up_to && !self.behind.contains(&position)
    }
}

/// Whether the store answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Reachable,
    /// It does not, and what was known is served.
    Unreachable {
        /// Since when.
        since: SystemTime,
        /// The last attempt's end.
        why: String,
    },
}

/// Why the shared store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// It may be back in a moment; a registration that was under way may have been made.
    #[error(
        "the store cannot be reached ({why}), so nothing can be changed now; what was known is served, and the change \
         can be made when the store is back: see `usher status`"
    )]
    Unreachable {
        /// What the last attempt ended with.
        why: String,
    },
    /// It took a change of configuration, as far as is known, and then did not answer.
    #[error(
        "the store did not answer ({why}), so it is not known whether the change was made: it may have been. Once the \
         store is back (`usher status`), `usher history` shows it; make it again if it is not there"
    )]
    Unanswered {
        /// What the last attempt ended with.
        why: String,
    },
    /// It answered, and said no.
    #[error("the store refused: {why}")]
    Refused {
        /// In its words.
        why: String,
    },
    /// It takes no value of this size.
    #[error("{key} is {bytes} bytes long, and the store takes {most} at most: split it")]
    TooLong {
        /// Under which name it would be kept.
        key: String,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// Others write to it all the time.
    #[error("the store was changed by others at each of {attempts} attempts; try again")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
}

/// Why a registration is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The lease is over, or somebody else has the name by now.
    #[error("no such lease; register again")]
    LeaseGone,
    /// The name is another identity's.
    #[error("the instance name is held by {0}")]
    Held(SpiffeId),
    /// The store.
    #[error(transparent)]
    Store(#[from] SharedError),
}

/// Whether an identity may have the instance's service.
pub type Permits<'a> = &'a (dyn Fn(&SpiffeId) -> bool + Send + Sync);

/// The store of several control planes. Positions grow with each write, whoever makes it.
pub trait Shared: fmt::Debug + Send + Sync + 'static {
    /// Whether it answers, and every change of that.
    fn health(&self) -> watch::Receiver<Health>;

    /// The newest committed revision, whoever committed it. Number 0: none.
    fn committed(&self) -> watch::Receiver<Revision>;

    /// Sends all registrations, then every change of them, for ever. Begins anew by itself when it loses the store.
    fn follow(&self, events: mpsc::Sender<Batch>) -> BoxFuture<'static, ()>;

    /// Where the newest version of a registration stands; 0: there is none.
    fn position_of<'a>(&'a self, name: &'a InstanceName)
    -> BoxFuture<'a, Result<u64, SharedError>>;

    /// Takes a registration in, unless an identity that `permits` lets be this service has the name. The answer is its
    /// lease, and its position.
    fn register<'a>(
        &'a self,
        name: &'a InstanceName,
        instance: Instance,
        permits: Permits<'a>,
    ) -> BoxFuture<'a, Result<(String, u64), WriteError>>;

    /// Takes a registration in where nobody has the name: who has it stays, whoever it is ([`WriteError::LeaseGone`]). The
    /// answer is as that of [`Self::register`].
    fn register_absent<'a>(
        &'a self,
        name: &'a InstanceName,
        instance: Instance,
    ) -> BoxFuture<'a, Result<(String, u64), WriteError>>;

    /// Prolongs a lease.
    fn renew<'a>(&'a self, lease: &'a str) -> BoxFuture<'a, Result<(), WriteError>>;

    /// Writes a new version of a registration under the lease it has.
    fn update<'a>(
        &'a self,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<u64, WriteError>>;

    /// Takes a registration out that has this lease.
    fn deregister<'a>(
        &'a self,
        name: &'a InstanceName,
        lease: &'a str,
    ) -> BoxFuture<'a, Result<u64, WriteError>>;

    /// Tells the others what every proxy here has applied; if that fails, again by itself.
    fn acknowledge(&self, applied: Acknowledgement) -> BoxFuture<'_, Result<(), SharedError>>;

    /// Whether all the other control planes that live have said so of the event at `position`.
    fn acknowledged(&self, position: u64) -> BoxFuture<'_, Result<bool, SharedError>>;

    /// Nobody waits for this control plane any more: it is about to end.
    fn depart(&self) -> BoxFuture<'_, ()>;
}
