//! The stream to the control plane: carries what [`Subscription`] decides, and comes back when it breaks.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use usher_config::{
    model::TrustBundle,
    wire::discovery::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};

use super::{
    Question, Resolution, Sought, WAITERS_MAX,
    contact::Contact,
    last_known_good,
    pause::{Follows, PAUSE_MIN, Pause},
    saving::Saving,
    subscription::{Asked, Effects, Subscription},
};
use crate::{
    clock,
    control_plane::{ControlPlane, Line},
    snapshot::{ServiceEntry, Store},
    state_dir::StateDir,
    telemetry::metrics::Gauge,
    tls::Material,
};

/// Why a stream is ended that nothing is wrong with: the control plane sees who we are by its connection's certificate, and
/// retires a root once nobody shows one under it.
const UNDER_ANOTHER_ROOT: &str = "our identity is under another root now";
const ON_ANOTHER_LINE: &str = "calls go over another connection now";
/// A stream that lasted this long was a good one: the next wait is short again.
const GOOD_STREAM: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);
/// The largest resource is a gateway, whose routes the control plane keeps below half of this (gRPC's default of 4 MiB is
/// less than one route may have written into it). A bound at all, so that a mistake there cannot take our memory.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A batch is answered with as many requests as it has parts; more than this means that nobody is reading.
const REQUESTS_MAX: usize = 256;

/// What the stream needs, and where it leaves what it hears.
#[derive(Debug)]
pub struct Parts {
    /// Where to.
    pub control_plane: ControlPlane,
    /// Our credentials of the moment.
    pub material: Arc<ArcSwap<Material>>,
    /// Gets every change.
    pub store: Arc<Store>,
    /// From the request path.
    pub questions: mpsc::Receiver<Question>,
    /// Gets every new trust bundle.
    pub trust: watch::Sender<Option<TrustBundle>>,
    /// Told whenever a stream opens: a control plane that started again has forgotten who is registered.
    pub opened: Arc<Notify>,
    /// For the last known good configuration.
    pub directory: StateDir,
    /// Of our identity's mesh, in DER: a configuration that was kept has to have one of them.
    pub roots: Vec<Vec<u8>>,
    /// When the control plane was last there, as Unix time.
    pub contact: Gauge,
}

/// One per process; the only writer of the snapshot.
#[derive(Debug)]
pub struct Xds {
    parts: Parts,
    subscription: Subscription,
    waiters: HashMap<Sought, Vec<oneshot::Sender<Resolution>>>,
    saving: Saving,
    contact: Contact,
}

impl Xds {
    /// Puts the last known good configuration, if there is one, into the snapshot at once.
    pub fn new(parts: Parts, mut subscription: Subscription) -> Self {
        match last_known_good::load(&parts.directory) {
            Ok(Some(bytes)) if !last_known_good::is_of(&bytes, &parts.roots) => {
                warn!(
                    "last known good configuration is of another mesh than our identity and removed"
                );
                forget(&parts.directory);
            }
            Ok(Some(bytes)) => {
                match last_known_good::decode(&bytes, &mut subscription, Instant::now()) {
                    Some(change) => {
                        info!(
                            "serving from the last known good configuration until the control plane is there"
                        );
                        parts.store.apply(change);
                    }
                    None => forget(&parts.directory),
                }
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "last known good configuration could not be read"),
        }
        let saving = Saving::new(parts.directory.clone());
        let mut xds = Self {
            parts,
            subscription,
            waiters: HashMap::new(),
            saving,
            contact: Contact::new(Instant::now()),
        };
        xds.heard();
        xds
    }

    /// Until `leave` is told or dropped; what is known then is on disk when this returns.
    pub async fn run(mut self, leave: oneshot::Receiver<()>) {
        tokio::select! {
            never = self.follow() => match never {},
            _ = leave => {}
        }
        self.note_addresses();
        self.saving.finish(&self.subscription).await;
    }

    /// One stream after the other.
    async fn follow(&mut self) -> Infallible {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            // Before the handshake, which may show the one after it.
            let root = self.parts.material.load().root;
            let line = self.parts.control_plane.line(self.parts.material.clone());
            let status = self.stream(&line, root).await;
            self.subscription.closed();
            if [UNDER_ANOTHER_ROOT, ON_ANOTHER_LINE].contains(&status.message()) {
                info!(reason = status.message(), "opening the stream again");
                self.serve_without_stream(PAUSE_MIN.mul_f64(fastrand::f64()))
                    .await;
                continue;
            }
            failures = if begun.elapsed() >= GOOD_STREAM {
                0
            } else {
                failures + 1
            };
            let control_plane = &self.parts.control_plane;
            let Pause { wait, stays } = Pause::after(
                &status,
                (failures, control_plane.members()),
                fastrand::f64(),
            );
            if !stays {
                // One that ends its streams, or does not open any, is not the one to ask first.
                control_plane.elsewhere(&line);
            }
            let reason = status.message();
            match failures {
                0 | 1 => warn!(reason, retry_after = ?wait, "no stream to the control plane"),
                _ => debug!(reason, retry_after = ?wait, "no stream to the control plane"),
            }
            self.serve_without_stream(wait).await;
        }
    }

    async fn stream(&mut self, line: &Line, root: Option<[u8; 32]>) -> Status {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let client = AggregatedDiscoveryServiceClient::new(line.channel());
        let mut client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let first = self.subscription.opened(Instant::now());
        if let Err(status) = send(&requests, first) {
            return status;
        }
        let responses = tokio::select! {
            opened = client.delta_aggregated_resources(ReceiverStream::new(receiver)) => opened,
            status = self.serve_while_opening(&requests) => return status,
        };
        match responses {
            Ok(responses) => {
                info!("stream to the control plane open");
                self.parts.opened.notify_one();
                let used = (line, line.connections());
                self.converse((&requests, root), used, responses.into_inner())
                    .await
            }
            Err(status) => status,
        }
    }

    async fn converse(
        &mut self,
        (requests, root): (&mpsc::Sender<DeltaDiscoveryRequest>, Option<[u8; 32]>),
        (line, connections): (&Line, usize),
        mut responses: Streaming<DeltaDiscoveryResponse>,
    ) -> Status {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut follows = Follows::new(fastrand::f64());
        loop {
            if self.parts.material.load().root != root {
                return Status::aborted(UNDER_ANOTHER_ROOT);
            }
            let moved_on = self.parts.control_plane.has_moved_on(line, connections);
            if follows.is_due(moved_on, Instant::now()) {
                return Status::aborted(ON_ANOTHER_LINE);
            }
            let next = tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => self.receive(response),
                    Ok(None) => return Status::unavailable("the control plane closed the stream"),
                    Err(status) => return status,
                },
                Some(question) = self.parts.questions.recv() => self.ask(question),
                _ = ticks.tick() => {
                    self.heard();
                    self.tick()
                }
            };
            if let Err(status) = send(requests, next) {
                return status;
            }
        }
    }

    async fn serve_while_opening(
        &mut self,
        requests: &mpsc::Sender<DeltaDiscoveryRequest>,
    ) -> Status {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                Some(question) = self.parts.questions.recv() => self.ask(question),
                _ = ticks.tick() => self.tick(),
            };
            if let Err(status) = send(requests, next) {
                return status;
            }
        }
    }

    /// Between two streams questions are taken in too: most likely the next stream opens within their second.
    async fn serve_without_stream(&mut self, wait: Duration) {
        let pause = sleep(wait);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(question) = self.parts.questions.recv() => drop(self.ask(question)),
            }
        }
        drop(self.tick());
    }

    fn receive(&mut self, response: DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let effects = self.subscription.receive(response, Instant::now());
        for refusal in effects
            .requests
            .iter()
            .filter_map(|request| request.error_detail.as_ref())
        {
            warn!(
                reason = refusal.message,
                "configuration refused; the last good one stays"
            );
        }
        self.perform(effects)
    }

    fn heard(&mut self) {
        self.contact.heard(Instant::now());
        let now = clock::wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let contact = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.parts.contact.set(contact);
    }

    fn tick(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let now = Instant::now();
        if let Some(silent) = self.contact.overdue(now) {
            warn!(
                ?silent,
                "no control plane for long: serving the last known good configuration until the certificate ends"
            );
        }
        for entry in self
            .parts
            .store
            .load()
            .services()
            .filter(|entry| in_use(entry))
        {
            self.subscription.used(&entry.model.name, now);
        }
        self.waiters.retain(|_, waiting| {
            waiting.retain(|waiter| !waiter.is_closed());
            !waiting.is_empty()
        });
        let effects = self.subscription.tick(now);
        let requests = self.perform(effects);
        self.note_addresses();
        self.saving.save(&self.subscription);
        requests
    }

    fn note_addresses(&mut self) {
        if self.subscription.learnt_of_addresses() {
            self.saving.note_change();
        }
    }

    fn ask(&mut self, Question { sought, answer }: Question) -> Vec<DeltaDiscoveryRequest> {
        let now = Instant::now();
        let asked = match &sought {
            Sought::Service(service) => self.subscription.ask(service, now),
            Sought::Address(address) => self.subscription.ask_address(*address, now),
        };
        match asked {
            Asked::Answered(resolution) => {
                // Whoever asked may have given up.
                let _ = answer.send(resolution);
                Vec::new()
            }
            Asked::Waits(requests) => {
                let waiting: usize = self.waiters.values().map(Vec::len).sum();
                if waiting < WAITERS_MAX {
                    self.waiters.entry(sought).or_default().push(answer);
                }
                requests
            }
        }
    }

    fn perform(&mut self, effects: Effects) -> Vec<DeltaDiscoveryRequest> {
        if let Some(change) = effects.change {
            self.saving.note_change();
            if let Some(trust) = change.trust.clone() {
                self.parts.trust.send_replace(Some(trust));
            }
            self.parts.store.apply(change);
        }
        let services = effects.answers.into_iter();
        let services = services.map(|(service, answer)| (Sought::Service(service), answer));
        let addresses = effects.addresses.into_iter();
        let addresses = addresses.map(|(address, answer)| (Sought::Address(address), answer));
        for (sought, resolution) in services.chain(addresses) {
            for waiter in self.waiters.remove(&sought).unwrap_or_default() {
                let _ = waiter.send(resolution);
            }
        }
        effects.requests
    }
}

/// What cannot be served from must not pass for something that can: whoever started us looks whether there is a file.
fn forget(directory: &StateDir) {
    if let Err(error) = last_known_good::remove(directory) {
        warn!(%error, "last known good configuration could not be removed");
    }
}

/// Dialled since the last look, or still busy: a stream may be older than any idle time.
fn in_use(entry: &ServiceEntry) -> bool {
    entry.take_used()
        || entry
            .endpoints
            .iter()
            .any(|endpoint| endpoint.state.in_flight() > 0)
}

fn send(
    requests: &mpsc::Sender<DeltaDiscoveryRequest>,
    next: Vec<DeltaDiscoveryRequest>,
) -> Result<(), Status> {
    for request in next {
        requests
            .try_send(request)
            .map_err(|_| Status::unavailable("the control plane reads nothing"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
