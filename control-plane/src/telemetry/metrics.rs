//! Every metric of the control plane, in one table.
//!
//! Counters move where things happen. Gauges describe the mesh at the moment of the scrape: they are set from
//! the state just before rendering, so nothing else has to keep them right.

#[cfg(feature = "kubernetes")]
mod admission;
mod dns;

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

#[cfg(feature = "kubernetes")]
pub use admission::{Admission, AdmissionMetrics, AdmissionOutcome, BundleWrite};
pub use dns::{DnsMetrics, DnsOutcome};

/// The metrics of one control plane. Not global: two in a process, as in tests, do not mix.
pub struct Metrics {
    registry: Registry,
    /// Identities asked for.
    pub ca: Arc<CaMetrics>,
    /// Connections of sidecars.
    pub listener: Arc<ListenerMetrics>,
    /// Streams of sidecars that begin.
    pub streams: Arc<StreamMetrics>,
    /// Calls to the registry in the name of a service that the caller may not be.
    pub registry_impostors: IntCounter,
    /// Questions about names.
    pub dns: Arc<DnsMetrics>,
    /// Key sets of token issuers that were asked for.
    pub keys: KeysMetrics,
    /// What Kubernetes asks.
    #[cfg(feature = "kubernetes")]
    pub admission: Arc<AdmissionMetrics>,
    /// The mesh as it is now.
    pub mesh: MeshGauges,
}

/// Key sets that were asked for.
#[derive(Clone)]
pub struct KeysMetrics {
    /// They came.
    pub fetched: IntCounter,
    /// They did not.
    pub failed: IntCounter,
}

/// The mesh at the moment of a scrape.
pub struct MeshGauges {
    /// Revision in force.
    pub revision: IntGauge,
    /// Objects that are not in force because of a mistake.
    pub rejected_objects: IntGauge,
    /// Objects by state: `total`, `accepted`, `unresolved`, `programmed`, `not_programmed`.
    pub objects: IntGaugeVec,
    /// Services known.
    pub services: IntGauge,
    /// Instances registered.
    pub endpoints: IntGauge,
    /// Instances registered and healthy.
    pub endpoints_ready: IntGauge,
    /// Callers without the mesh's TLS.
    pub plaintext_callers: IntGauge,
    /// Sidecars with an open stream.
    pub proxies: IntGauge,
    /// Sidecars whose revision is older than the one in force.
    pub proxies_behind: IntGauge,
    /// End of the root certificate.
    pub root_expiry: IntGauge,
    /// End of the intermediate that signs.
    pub issuer_expiry: IntGauge,
    /// 0: the store that several control planes share does not answer.
    pub store_reachable: IntGauge,
}

impl Metrics {
    /// A new set, all zero.
    ///
    /// # Errors
    /// Two metrics of one name: a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let table = Table(&registry);
        let identities = table.counters(
            "usher_ca_identities_total",
            "How many identities were asked for, with which proof, and were they signed?",
            &["proof", "result"],
        )?;
        let identity = |proof, result| identities.with_label_values(&[proof, result]);
        let ca = CaMetrics {
            token_signed: identity("token", "signed"),
            token_refused: identity("token", "refused"),
            account_signed: identity("service_account", "signed"),
            account_refused: identity("service_account", "refused"),
            svid_signed: identity("svid", "signed"),
            svid_refused: identity("svid", "refused"),
        };
        let refusals = table.counters(
            "usher_registry_refusals_total",
            "How often did a sidecar claim to be a service that its identity may not be?",
            &["reason"],
        )?;
        let dns = DnsMetrics::new(&table)?;
        let fetches = table.counters(
            "usher_jwks_fetches_total",
            "How often were keys of token issuers asked for, and did they come?",
            &["result"],
        )?;
        let listener = ListenerMetrics::new(&table)?;
        let streams = StreamMetrics::new(&table)?;
        let mesh = MeshGauges::new(&table)?;
        #[cfg(feature = "kubernetes")]
        let admission = AdmissionMetrics::new(&table)?;
        Ok(Self {
            registry,
            registry_impostors: refusals.with_label_values(&["identity"]),
            ca: Arc::new(ca),
            keys: KeysMetrics {
                fetched: fetches.with_label_values(&["fetched"]),
                failed: fetches.with_label_values(&["failed"]),
            },
            listener: Arc::new(listener),
            streams: Arc::new(streams),
            dns: Arc::new(dns),
            #[cfg(feature = "kubernetes")]
            admission: Arc::new(admission),
            mesh,
        })
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        // Fails only for families without metrics, which a registry does not gather.
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}

impl MeshGauges {
    fn new(table: &Table<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            revision: table.gauge(
                "usher_configuration_revision",
                "Which revision of the configuration is in force?",
            )?,
            rejected_objects: table.gauge(
                "usher_configuration_rejected_objects",
                "How many objects are not in force because of a mistake in them?",
            )?,
            objects: table.gauges(
                "usher_configuration_objects",
                "How many objects of the configuration are accepted, refer to what is not there, and are run by all sidecars?",
                &["state"],
            )?,
            services: table.gauge(
                "usher_mesh_services",
                "How many services does the mesh know?",
            )?,
            endpoints: table.gauge("usher_mesh_endpoints", "How many instances are registered?")?,
            endpoints_ready: table.gauge(
                "usher_mesh_ready_endpoints",
                "How many registered instances are healthy and take requests?",
            )?,
            plaintext_callers: table.gauge(
                "usher_mesh_plaintext_callers",
                "How many callers have called services without mutual TLS within a day?",
            )?,
            proxies: table.gauge(
                "usher_mesh_proxies",
                "How many sidecars follow the configuration?",
            )?,
            proxies_behind: table.gauge(
                "usher_mesh_behind_proxies",
                "How many sidecars do not run the newest configuration they should run?",
            )?,
            root_expiry: table.gauge(
                "usher_ca_root_expiry_timestamp_seconds",
                "When does the root certificate end?",
            )?,
            issuer_expiry: table.gauge(
                "usher_ca_issuer_expiry_timestamp_seconds",
                "When does the intermediate end with which this control plane signs?",
            )?,
            store_reachable: table.gauge(
                "usher_store_reachable",
                "Does the store answer (1), or is what was known served, without changes (0)?",
            )?,
        })
    }
}

/// Registers what it makes.
struct Table<'a>(&'a Registry);

impl Table<'_> {
    fn counters(
        &self,
        name: &str,
        question: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(Opts::new(name, question), labels)?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn counter(&self, name: &str, question: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = IntCounter::new(name, question)?;
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn gauges(
        &self,
        name: &str,
        question: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let gauges = IntGaugeVec::new(Opts::new(name, question), labels)?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn gauge(&self, name: &str, question: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::new(name, question)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }
}

/// What an identity was asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A join token.
    Token,
    /// A token of a Kubernetes service account.
    ServiceAccount,
    /// An unexpired SVID: a renewal.
    Svid,
}

/// The certificate authority's decisions.
pub struct CaMetrics {
    token_signed: IntCounter,
    token_refused: IntCounter,
    account_signed: IntCounter,
    account_refused: IntCounter,
    svid_signed: IntCounter,
    svid_refused: IntCounter,
}

impl CaMetrics {
    /// Counts one request for an identity by how it ended.
    pub fn count<T, E>(&self, proof: Proof, result: &Result<T, E>) {
        let counter = match (proof, result) {
            (Proof::Token, Ok(_)) => &self.token_signed,
            (Proof::Token, Err(_)) => &self.token_refused,
            (Proof::ServiceAccount, Ok(_)) => &self.account_signed,
            (Proof::ServiceAccount, Err(_)) => &self.account_refused,
            (Proof::Svid, Ok(_)) => &self.svid_signed,
            (Proof::Svid, Err(_)) => &self.svid_refused,
        };
        counter.inc();
    }
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With a connection.
    Accepted,
    /// With an alert: a wrong certificate, another protocol.
    Refused,
    /// Not in time.
    Timeout,
    /// Not at all: whoever it was has hung up while it stood in line.
    Left,
    /// Not at all: its address has as many connections as it may have.
    Share,
}

/// What happens on port 15012.
pub struct ListenerMetrics {
    accepted: IntCounter,
    refused: IntCounter,
    timeout: IntCounter,
    left: IntCounter,
    share: IntCounter,
    waiting: IntGauge,
    connections: IntGauge,
}

impl ListenerMetrics {
    fn new(table: &Table<'_>) -> Result<Self, prometheus::Error> {
        let handshakes = table.counters(
            "usher_control_handshakes_total",
            "How do the handshakes of sidecars with the control plane end?",
            &["result"],
        )?;
        let connections = table.gauge(
            "usher_control_connections",
            "How many sidecars (and joining ones) are connected to the control plane?",
        )?;
        Ok(Self {
            accepted: handshakes.with_label_values(&["accepted"]),
            refused: handshakes.with_label_values(&["refused"]),
            timeout: handshakes.with_label_values(&["timeout"]),
            left: handshakes.with_label_values(&["left"]),
            share: handshakes.with_label_values(&["share"]),
            waiting: table.gauge(
                "usher_control_waiting_handshakes",
                "How many sidecars have connected and wait for their handshake with the control plane?",
            )?,
            connections,
        })
    }

    /// Counts one handshake.
    pub fn count(&self, handshake: Handshake) {
        let counter = match handshake {
            Handshake::Accepted => &self.accepted,
            Handshake::Refused => &self.refused,
            Handshake::Timeout => &self.timeout,
            Handshake::Left => &self.left,
            Handshake::Share => &self.share,
        };
        counter.inc();
    }

    /// Counts a handshake as waiting for as long as the guard lives.
    pub fn waits(&self) -> Counted {
        Counted::new(&self.waiting)
    }

    /// Counts a connection as open for as long as the guard lives.
    pub fn connection_opened(&self) -> Counted {
        Counted::new(&self.connections)
    }
}

/// Streams that begin.
#[derive(Debug)]
pub struct StreamMetrics {
    /// In line for their first snapshot.
    pub waiting: IntGauge,
    /// Told to come again.
    pub refused: IntCounter,
}

impl StreamMetrics {
    fn new(table: &Table<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            waiting: table.gauge(
                "usher_control_waiting_streams",
                "How many sidecars wait in line for their first snapshot?",
            )?,
            refused: table.counter(
                "usher_control_refused_streams_total",
                "How often was a sidecar told to come again later, as the line was too long?",
            )?,
        })
    }
}

/// Something that counts until this is dropped.
#[must_use]
pub struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
