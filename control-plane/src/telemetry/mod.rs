//! Logs and metrics of the control plane itself.

pub mod metrics;
mod log;

pub use log::{Format, misread, start_log};
