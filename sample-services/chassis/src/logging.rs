//! Structured logs: one JSON object per line on stderr, joined to traces by `trace_id`.

use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Starts logging for this process, filtered by `RUST_LOG` (default `info`).
///
/// Does nothing when the program has set up logging already (several services in one process, tests).
pub fn start() {
    let filter = std::env::var("RUST_LOG").unwrap_or_default();
    let filter: Targets = filter.parse().unwrap_or_default();
    let filter = match filter.default_level() {
        None => filter.with_default(LevelFilter::INFO),
        Some(_) => filter,
    };
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(std::io::stderr)
        .with_filter(filter);
    let started = tracing_subscriber::registry().with(lines).try_init();
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
}
