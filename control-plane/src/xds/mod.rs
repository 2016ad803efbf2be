//! One delta-ADS stream per proxy: what it asked for, what it was told, what it acknowledged.
//!
//! [`subscription`] and [`acknowledgement`] decide and do no I/O; [`stream`] moves messages. A stream keeps no
//! queue of changes: when it can send, it compares the newest snapshot with what it has sent, so that a slow
//! proxy delays nobody and skips what it missed.

mod topic;
pub mod subscription;
pub mod acknowledgement;
pub mod authenticate;
pub mod connected;
mod stream;

pub use connected::Connected;
pub use stream::AdsService;
pub use topic::Topic;
