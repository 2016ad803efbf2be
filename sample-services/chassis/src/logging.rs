//! Structured logs: one JSON object per line on stderr, joined to traces by `trace_id`.

use tracing_subscriber::EnvFilter;

/// Starts logging for this process, filtered by `RUST_LOG` (default `info`).
///
/// Does nothing when the program has set up logging already (several services in one process, tests).
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
}
