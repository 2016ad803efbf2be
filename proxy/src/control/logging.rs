//! The operational log: JSON lines on stderr, with a filter that operators can change while we run.

use std::{backtrace::Backtrace, io, panic};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// Lifecycle without per-connection noise.
const DEFAULT: LevelFilter = LevelFilter::INFO;

/// Changes the filter of the running process. By target and level only: filters on spans and their fields need an
/// automaton compiler, a third of a megabyte in every sidecar, and there are no spans.
/// The default changes nothing: for programs that log by themselves.
#[derive(Debug, Clone, Default)]
pub struct LogFilter(Option<reload::Handle<Targets, Registry>>);

/// The text is no filter, or this process logs elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFilter {
    /// Not `target=level,…`.
    #[error("not a log filter: {0}")]
    Syntax(#[from] tracing_subscriber::filter::ParseError),
    /// Choosing by span or field, which would be read as a target that nothing has.
    #[error(
        "not a log filter: `{0}`; it is target=level,…, and neither spans nor fields can be chosen"
    )]
    Span(String),
    /// The process that runs us has a log of its own.
    #[error("this process does not log through the sidecar")]
    NotOurs,
}

impl LogFilter {
    /// Starts logging with `filter`, or with the default where it is missing or wrong.
    pub fn start(filter: Option<&str>) -> Self {
        let wanted = filter.map(parse);
        let wrong = wanted.as_ref().and_then(|wanted| wanted.as_ref().err());
        let wrong = wrong.map(ToString::to_string);
        let filter = wanted.and_then(Result::ok);
        let filter = filter.unwrap_or_else(|| Targets::new().with_default(DEFAULT));
        let (filter, handle) = reload::Layer::new(filter);
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr);
        let started = tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init();
        if started.is_ok() {
            panic::set_hook(Box::new(|panic| {
                let backtrace = Backtrace::capture();
                tracing::error!(%panic, %backtrace, "a panic: what it was about has ended, the rest goes on");
            }));
        }
        if let Some(reason) = wrong {
            tracing::warn!(reason, "USHER_LOG cannot be read: info counts");
        }
        Self(started.is_ok().then_some(handle))
    }

    /// Replaces the filter.
    ///
    /// # Errors
    /// [`InvalidFilter`]; the old one stays.
    pub fn replace(&self, filter: &str) -> Result<(), InvalidFilter> {
        let filter = parse(filter)?;
        let handle = self.0.as_ref().ok_or(InvalidFilter::NotOurs)?;
        handle.reload(filter).map_err(|_| InvalidFilter::NotOurs)
    }
}

fn parse(filter: &str) -> Result<Targets, InvalidFilter> {
    if filter.contains(['[', '{']) {
        return Err(InvalidFilter::Span(filter.to_owned()));
    }
    Ok(filter.parse()?)
}
