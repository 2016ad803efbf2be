//! The operational log: `tracing` to stderr, for people on a terminal and as JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON else: a file or a collector reads it then.
    Automatic,
    /// One JSON object a line.
    Json,
}

/// Starts logging; a second call in a process changes nothing. `filter` is in `tracing`'s syntax, such as
/// `info` or `warn,usher_control_plane::ca=debug`; one that cannot be read counts as `info`.
pub fn start_log(filter: &str, format: Format) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let as_text = format == Format::Automatic && io::stderr().is_terminal();
    // Fails only when a log was started before: that one stays.
    let _ = if as_text {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
