//! One delta-ADS stream per proxy: what it asked for, what it was told, what it acknowledged.
//!
//! [`admission`], [`subscription`], [`acknowledgement`], [`changes`] and [`interest`] decide and do no I/O; [`stream`] moves messages. A
//! stream keeps no queue of changes: when it can send, it compares the newest snapshot with what it has sent, so that a slow
//! proxy delays nobody and skips what it missed. It is woken only by a snapshot that may concern it, so that a change costs
//! what its subscribers cost, however many others are connected.

mod topic;
pub mod admission;
pub mod subscription;
pub mod acknowledgement;
pub mod authenticate;
mod changes;
mod interest;
pub mod connected;
mod responses;
mod door;
mod stream;

pub use changes::Changes;
pub use connected::Connected;
pub use stream::AdsService;
pub use topic::Topic;
