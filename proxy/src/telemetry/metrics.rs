//! Every metric the proxy has, in one table; and the handles by which stages count.
//!
//! Names and labels are turned into handles when a snapshot is applied (peer at handshake); the hot path
//! only adds to its worker's own cache lines. A scrape sums the workers. Series are bounded: beyond
//! [`SERIES_MAX`] a family's new series all become one named `overflow`, and the refusals are counted, so
//! no caller and no configuration can grow a proxy's memory or a Prometheus' index through labels.

mod cells;
mod collector;
mod handles;
mod labels;
mod registry;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cells::{CounterCell, GaugeCell, HistogramCell, KeyedCell, OutcomeCell, Series};
use registry::Registry;

use crate::clock;

pub use labels::{Direction, Side};

/// How many series a proxy exposes at most; a histogram counts as its buckets.
pub const SERIES_MAX: u32 = 2_000;

/// How long a series that nobody holds is still exposed, whether somebody scrapes or not: what was counted there and not
/// scraped within that time is lost. The places of what is gone are worth more to what comes.
pub const IDLE: Duration = Duration::from_secs(600);

/// Upper bounds of durations, in microseconds: from a mesh hop to a request's default timeout.
const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 15_000_000,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Counts; the last label may be filled on first use, from a small set known to the code.
    Counter,
    Outcomes,
    /// Counts by code and flag.
    Requests,
    Gauge,
    Seconds,
}

/// One metric.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
}

/// Rows of [`FAMILIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Row {
    Requests,
    RequestDuration,
    Attempts,
    Retries,
    BreakerState,
    BreakerTransitions,
    BreakerObserved,
    Fallbacks,
    Faults,
    Mirrored,
    Ejected,
    Ejections,
    Connections,
    TcpBytes,
    TlsHandshakes,
    SvidExpiry,
    SvidRenewals,
    CertificateExpiry,
    ConfigRevision,
    ControlPlaneContact,
    Detected,
    ConnectionsEnded,
    RateLimited,
    Tokens,
    AccessDryRun,
    AccessLogDropped,
    InternalErrors,
    SeriesOverflow,
}

#[rustfmt::skip]
const FAMILIES: [(Row, Family); 28] = [
    (Row::Requests, Family { name: "usher_requests_total", kind: Kind::Requests, labels: &["direction", "service", "route", "peer", "code", "flag"],
        help: "How many requests ended how, and what this proxy had to do with it?" }),
    (Row::RequestDuration, Family { name: "usher_request_duration_seconds", kind: Kind::Seconds, labels: &["direction", "service"],
        help: "How long did requests take from their head to the end of their response?" }),
    (Row::Attempts, Family { name: "usher_upstream_attempts_total", kind: Kind::Outcomes, labels: &["service", "outcome"],
        help: "How many attempts were made for those requests, and how did they end?" }),
    (Row::Retries, Family { name: "usher_retries_total", kind: Kind::Outcomes, labels: &["service", "outcome"],
        help: "How many failed attempts were retried, and why were the others not?" }),
    (Row::BreakerState, Family { name: "usher_breaker_state", kind: Kind::Gauge, labels: &["service", "route"],
        help: "Is the breaker closed (0), half-open (1) or open (2)?" }),
    (Row::BreakerTransitions, Family { name: "usher_breaker_transitions_total", kind: Kind::Outcomes, labels: &["service", "route", "to"],
        help: "How often did the breaker change to which state?" }),
    (Row::BreakerObserved, Family { name: "usher_breaker_observed_total", kind: Kind::Outcomes, labels: &["service", "route", "instead"],
        help: "How many requests passed a breaker that only observes, and what would have become of them instead?" }),
    (Row::Fallbacks, Family { name: "usher_fallbacks_total", kind: Kind::Outcomes, labels: &["service", "cause"],
        help: "How many requests were answered by a fallback, and why?" }),
    (Row::Faults, Family { name: "usher_faults_injected_total", kind: Kind::Outcomes, labels: &["service", "fault"],
        help: "How many requests were delayed or aborted on purpose?" }),
    (Row::Mirrored, Family { name: "usher_mirrored_requests_total", kind: Kind::Outcomes, labels: &["service", "route", "mirror", "outcome"],
        help: "How many copies of requests went to a mirror, and what became of them?" }),
    (Row::Ejected, Family { name: "usher_ejected_endpoints", kind: Kind::Gauge, labels: &["service"],
        help: "How many endpoints are out of balancing now?" }),
    (Row::Ejections, Family { name: "usher_ejections_total", kind: Kind::Outcomes, labels: &["service", "change"],
        help: "How often were endpoints taken out of balancing, and how often did they return?" }),
    (Row::Connections, Family { name: "usher_connections", kind: Kind::Gauge, labels: &["direction", "side"],
        help: "How many connections are open now, to callers (downstream) and to endpoints (upstream)?" }),
    (Row::TcpBytes, Family { name: "usher_tcp_bytes_total", kind: Kind::Outcomes, labels: &["direction", "service", "way"],
        help: "How many bytes of opaque streams went towards the service (up) and back (down)?" }),
    (Row::TlsHandshakes, Family { name: "usher_tls_handshakes_total", kind: Kind::Outcomes, labels: &["direction", "outcome"],
        help: "How many TLS handshakes succeeded, were resumed, or failed?" }),
    (Row::SvidExpiry, Family { name: "usher_svid_expiry_timestamp_seconds", kind: Kind::Gauge, labels: &[],
        help: "When does this workload's certificate expire, as Unix time?" }),
    (Row::SvidRenewals, Family { name: "usher_svid_renewals_total", kind: Kind::Outcomes, labels: &["outcome"],
        help: "How many renewals of this workload's certificate were made, brought one that was nearly over (short), or failed?" }),
    (Row::CertificateExpiry, Family { name: "usher_certificate_expiry_timestamp_seconds", kind: Kind::Gauge, labels: &["certificate"],
        help: "When does a certificate that this gateway shows to the outside world expire, as Unix time?" }),
    (Row::ConfigRevision, Family { name: "usher_config_revision", kind: Kind::Gauge, labels: &[],
        help: "Which revision of the configuration brought what this proxy runs (0: none yet; one that changes nothing for it is not told to it, so one older than the control plane's may be up to date)?" }),
    (Row::ControlPlaneContact, Family { name: "usher_control_plane_contact_timestamp_seconds", kind: Kind::Gauge, labels: &[],
        help: "When was the control plane last there (at first: when did this proxy start), as Unix time?" }),
    (Row::Detected, Family { name: "usher_detect_total", kind: Kind::Outcomes, labels: &["outcome"],
        help: "Which protocols did connections turn out to speak (server_first: the application did; silent: closed before a byte; undecided: no byte in time)?" }),
    (Row::ConnectionsEnded, Family { name: "usher_connections_ended_total", kind: Kind::Outcomes, labels: &["reason"],
        help: "How many callers' connections did this proxy end, and which bound did they run into?" }),
    (Row::RateLimited, Family { name: "usher_rate_limited_total", kind: Kind::Outcomes, labels: &["policy", "limit", "outcome"],
        help: "How many requests were beyond a rate limit, and were refused (or would have been, in a dry run)?" }),
    (Row::Tokens, Family { name: "usher_tokens_total", kind: Kind::Outcomes, labels: &["policy", "outcome"],
        help: "How many requests had a token that an authentication policy believed, or none (anonymous), or why were they refused?" }),
    (Row::AccessDryRun, Family { name: "usher_access_dry_run_denials_total", kind: Kind::Counter, labels: &["policy"],
        help: "How many requests would a dry-run access policy have refused?" }),
    (Row::AccessLogDropped, Family { name: "usher_access_log_dropped_total", kind: Kind::Counter, labels: &[],
        help: "How many access log lines were dropped because the log could not be written fast enough?" }),
    (Row::InternalErrors, Family { name: "usher_internal_errors_total", kind: Kind::Outcomes, labels: &["stage"],
        help: "How many requests failed because an invariant of the proxy did not hold?" }),
    (Row::SeriesOverflow, Family { name: "usher_series_overflow_total", kind: Kind::Counter, labels: &[],
        help: "How often was something counted as overflow because the proxy had its maximum of series?" }),
];

impl Row {
    fn family(self) -> &'static Family {
        // Rows are declared in the table's order; a test holds the two together.
        FAMILIES
            .get(self as usize)
            .map_or(&FAMILIES[0].1, |(_, family)| family)
    }
}

/// All series of a proxy. Cheap to clone; making handles is for snapshots and handshakes.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Registry>);

/// Counts one thing, per worker.
#[derive(Debug, Clone)]
pub struct Counter(Arc<CounterCell>);

/// Counts one thing by outcome; an outcome's series begins at its first use.
#[derive(Debug, Clone)]
pub struct Outcomes(Arc<OutcomeCell>);

/// Counts requests by code and flag; their series begin at their first use.
#[derive(Debug, Clone)]
pub struct Requests(Arc<KeyedCell>);

/// A number that goes both ways.
#[derive(Debug, Clone)]
pub struct Gauge(Arc<GaugeCell>);

/// A distribution of durations.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<HistogramCell>);

impl Metrics {
    /// For so many workers; one shard more is the control thread's (any higher index).
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(Registry::new(workers + 1)))
    }

    /// Exposes everything through `registry`.
    ///
    /// # Errors
    /// If a collector with these names is registered already.
    pub fn register(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(collector::Collector::new(Arc::clone(&self.0))?))
    }

    /// Drops series that nobody has held for [`IDLE`]. Scrapes do so too; without them the places of what is gone would
    /// be missing to what comes.
    pub fn forget_idle(&self, now: Instant) {
        self.0.sweep(clock::tick_of(now));
    }

    /// Requests of a service through a route, from (inbound) or to (outbound) a peer.
    pub fn requests(
        &self,
        direction: Direction,
        service: &str,
        route: &str,
        peer: &str,
    ) -> Requests {
        Requests(self.0.handle(
            Row::Requests,
            &[direction.as_str(), service, route, peer],
            Series::requests,
        ))
    }

    /// Durations of those requests.
    pub fn request_duration(&self, direction: Direction, service: &str) -> Histogram {
        let labels = [direction.as_str(), service];
        Histogram(
            self.0
                .handle(Row::RequestDuration, &labels, Series::histogram),
        )
    }

    /// Attempts by outcome.
    pub fn attempts(&self, service: &str) -> Outcomes {
        self.outcomes(Row::Attempts, &[service])
    }

    /// Retries by outcome: `retried`, `budget_spent`, `refused`, or `retry::GiveUp::as_str`.
    pub fn retries(&self, service: &str) -> Outcomes {
        self.outcomes(Row::Retries, &[service])
    }

    /// 0 closed, 1 half-open, 2 open. `route` is empty for a service's breaker.
    pub fn breaker_state(&self, service: &str, route: &str) -> Gauge {
        self.gauge(Row::BreakerState, &[service, route])
    }

    /// Transitions by the phase they lead to.
    pub fn breaker_transitions(&self, service: &str, route: &str) -> Outcomes {
        self.outcomes(Row::BreakerTransitions, &[service, route])
    }

    /// What an enforcing breaker would have made of requests: `refused`, or `fallback`.
    pub fn breaker_observed(&self, service: &str, route: &str) -> Outcomes {
        self.outcomes(Row::BreakerObserved, &[service, route])
    }

    /// Fallbacks by `fallback::Cause::as_str`.
    pub fn fallbacks(&self, service: &str) -> Outcomes {
        self.outcomes(Row::Fallbacks, &[service])
    }

    /// Faults: `delay` and `abort`.
    pub fn faults(&self, service: &str) -> Outcomes {
        self.outcomes(Row::Faults, &[service])
    }

    /// Endpoints that are out.
    pub fn ejected_endpoints(&self, service: &str) -> Gauge {
        self.gauge(Row::Ejected, &[service])
    }

    /// Copies of a route's requests, by what became of them; see `upstream::mirror`.
    pub fn mirrored(&self, service: &str, route: &str, mirror: &str) -> Outcomes {
        self.outcomes(Row::Mirrored, &[service, route, mirror])
    }

    /// `ejected` and `returned`.
    pub fn ejections(&self, service: &str) -> Outcomes {
        self.outcomes(Row::Ejections, &[service])
    }

    /// Open connections.
    pub fn connections(&self, direction: Direction, side: Side) -> Gauge {
        self.gauge(Row::Connections, &[direction.as_str(), side.as_str()])
    }

    /// Bytes of opaque streams: `up` and `down`.
    pub fn tcp_bytes(&self, direction: Direction, service: &str) -> Outcomes {
        self.outcomes(Row::TcpBytes, &[direction.as_str(), service])
    }

    /// Handshakes by outcome.
    pub fn tls_handshakes(&self, direction: Direction) -> Outcomes {
        self.outcomes(Row::TlsHandshakes, &[direction.as_str()])
    }

    /// Unix time, in seconds.
    pub fn svid_expiry(&self) -> Gauge {
        self.gauge(Row::SvidExpiry, &[])
    }

    /// Renewals: `renewed`, `short` and `failed`.
    pub fn svid_renewals(&self) -> Outcomes {
        self.outcomes(Row::SvidRenewals, &[])
    }

    /// Unix time, in seconds, of a gateway's certificate by its name.
    pub fn certificate_expiry(&self, certificate: &str) -> Gauge {
        self.gauge(Row::CertificateExpiry, &[certificate])
    }

    /// The revision in force.
    pub fn config_revision(&self) -> Gauge {
        self.gauge(Row::ConfigRevision, &[])
    }

    /// Unix time, in seconds.
    pub fn control_plane_contact(&self) -> Gauge {
        self.gauge(Row::ControlPlaneContact, &[])
    }

    /// Connections by `detect::parser::Detected::as_str`.
    pub fn detected(&self) -> Outcomes {
        self.outcomes(Row::Detected, &[])
    }

    /// Callers' connections that this proxy ended, by `http::serve::Bound::as_str`, or `connections` when there were
    /// too many, `descriptors` when the process had none left.
    pub fn connections_ended(&self) -> Outcomes {
        self.outcomes(Row::ConnectionsEnded, &[])
    }

    /// Requests beyond a rate limit: `refused` and `dry_run`.
    pub fn rate_limited(&self, policy: &str, limit: &str) -> Outcomes {
        self.outcomes(Row::RateLimited, &[policy, limit])
    }

    /// Requests by what an authentication policy made of them: `believed`, `anonymous`, or `error::TokenProblem::slug`.
    pub fn tokens(&self, policy: &str) -> Outcomes {
        self.outcomes(Row::Tokens, &[policy])
    }

    /// Requests that a dry-run access policy would have refused.
    pub fn access_dry_run(&self, policy: &str) -> Counter {
        self.counter(Row::AccessDryRun, &[policy])
    }

    /// Access log lines that were lost.
    pub fn access_log_dropped(&self) -> Counter {
        self.counter(Row::AccessLogDropped, &[])
    }

    /// Broken invariants by stage.
    pub fn internal_errors(&self) -> Outcomes {
        self.outcomes(Row::InternalErrors, &[])
    }

    /// Series that exist.
    #[cfg(test)]
    pub fn series(&self) -> u32 {
        self.0.budget().used()
    }

    fn counter(&self, row: Row, labels: &[&str]) -> Counter {
        Counter(self.0.handle(row, labels, Series::counter))
    }

    fn outcomes(&self, row: Row, labels: &[&str]) -> Outcomes {
        Outcomes(self.0.handle(row, labels, Series::outcomes))
    }

    fn gauge(&self, row: Row, labels: &[&str]) -> Gauge {
        Gauge(self.0.handle(row, labels, Series::gauge))
    }
}

#[cfg(test)]
mod tests;
