//! The operational log: `tracing` to stderr, for people on a terminal and as JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use usher_config::parse::nearest;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON else: a file or a collector reads it then.
    Automatic,
    /// One JSON object a line.
    Json,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What is most likely wrong with a filter, and what happens instead; `None`: nothing.
pub fn misread(filter: &str) -> Option<String> {
    if let Err(error) = filter.parse::<Targets>() {
        return Some(format!(
            "`{filter}` is no log filter ({error}): info counts"
        ));
    }
    let words = filter.split(',').map(str::trim);
    let mut words = words.filter(|word| !word.contains('='));
    words.find_map(|word| {
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
        let near = nearest(word, LEVELS.into_iter()).filter(|_| !is_level)?;
        Some(format!(
            "`{word}` is taken for the name of a module, and most likely nothing is logged: did you mean {near}?"
        ))
    })
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

#[cfg(test)]
mod tests;
