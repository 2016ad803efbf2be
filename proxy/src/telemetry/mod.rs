//! What the proxy tells about itself: metrics, access log, trace context.
//!
//! Foundations: every stage may use them, they use no stage. On a request path each costs adds into the
//! worker's own memory; names, files and scrapes are other threads' business.

pub mod access_log;
pub mod flags;
mod hex;
pub mod metrics;
pub mod trace_context;
