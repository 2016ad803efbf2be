//! The control thread.
mod exit;
mod exposure;
mod keep_identity;
mod listeners;
mod logging;
mod registration;
pub use exit::Exit;
pub use logging::{InvalidFilter, LogFilter};
