//! The operational log: `tracing` to stderr, for people on a terminal and as JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

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
    let filter: Targets = filter
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = fmt::layer().with_writer(io::stderr);
    let as_text = format == Format::Automatic && io::stderr().is_terminal();
    let lines = if as_text {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    // Fails only when a log was started before: that one stays.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
}
