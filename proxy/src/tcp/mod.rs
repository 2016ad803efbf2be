//! Byte streams: the one socket type of the request path, writes gathered per turn, and opaque copying.

mod coalesce;
mod copy;
mod looked;
mod socket;
mod stream;

pub use coalesce::{Coalesced, Flusher, coalesce};
pub use copy::{BrokeOff, Copied, Scratch, copy};
pub use looked::Looked;
pub use socket::tune;
pub use stream::Stream;

#[cfg(test)]
mod tests;
