//! The stream itself: requests in, batches out, one task per proxy.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};
use usher_config::{
    value::{InstanceName, SpiffeId},
    wire::{
        discovery::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_server::AggregatedDiscoveryService,
        },
        type_url,
    },
};

use crate::{
    clock::now_text,
    snapshot::{Snapshot, Understands},
    state::State,
    status::NackReport,
    telemetry::metrics::StreamMetrics,
};

use super::{
    Topic,
    acknowledgement::{Acknowledgements, Answer, Closing},
    authenticate::{authenticate, under_root},
    connected::{Connected, StreamId},
    door::{Door, PLACE_HELD_MAX, Place},
    responses::{closing_response, names, responses},
    subscription::{Batch, Subscriptions},
};

/// Responses between our task and the connection; beyond it HTTP/2's flow control makes us wait.
const CHANNEL: usize = 2;

/// How long a proxy may take to hear why its stream ends.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// A refusal's text, in characters.
const NACK_LENGTH_MAX: usize = 1_000;

/// `AggregatedDiscoveryService` for sidecars.
#[derive(Debug, Clone)]
pub struct AdsService {
    state: State,
    door: Door,
}

impl AdsService {
    /// Serves the snapshots of `state`.
    pub fn new(state: State, metrics: Arc<StreamMetrics>) -> Self {
        let door = Door::new(metrics);
        Self { state, door }
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for AdsService {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let identity = authenticate(request.extensions())?;
        let peer = (identity, under_root(request.extensions()));
        // Nothing is read or kept of a stream that waits.
        let place = self.door.enter(&peer.0).await?;
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let mut conversation = Conversation::new(&self.state, peer, request.into_inner(), sender);
        conversation.place = Some(place);
        tokio::spawn(conversation.run(self.state.store_lost()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

struct Conversation {
    identity: SpiffeId,
    /// To which root of the mesh its certificate leads.
    root: Option<Arc<str>>,
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    connected: Arc<Connected>,
    id: Option<StreamId>,
    /// A snapshot has come that concerns us, or the last one.
    wake: Arc<Notify>,
    subscriptions: Subscriptions,
    acknowledgements: Acknowledgements,
    /// All that the proxy wants at first has been asked for.
    begun: bool,
    /// The rest of the batch that is being sent.
    pending: VecDeque<DeltaDiscoveryResponse>,
    /// Something happened since the last comparison.
    dirty: bool,
    /// Until its first batch is answered.
    place: Option<Place>,
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.connected.left(id, &self.subscriptions);
        }
    }
}

impl Conversation {
    fn new(
        state: &State,
        (identity, root): (SpiffeId, Option<Arc<str>>),
        requests: Streaming<DeltaDiscoveryRequest>,
        responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    ) -> Self {
        Self {
            identity,
            root,
            requests,
            responses,
            snapshots: state.snapshots(),
            connected: state.connected(),
            id: None,
            wake: Arc::default(),
            subscriptions: Subscriptions::default(),
            acknowledgements: Acknowledgements::default(),
            begun: false,
            pending: VecDeque::new(),
            dirty: false,
            place: None,
        }
    }

    /// Ends too when we have `lost` the store: another control plane may have it.
    async fn run(mut self, lost: impl Future<Output = ()>) {
        info!(identity = %self.identity, "proxy stream opened");
        let ended = tokio::select! {
            ended = self.converse() => ended,
            () = lost => Err(Status::unavailable("this control plane has lost its store, ask another one")),
        };
        match ended {
            Ok(()) => info!(identity = %self.identity, "proxy stream closed"),
            Err(status) => {
                info!(identity = %self.identity, reason = status.message(), "proxy stream ended");
                // Whoever waits for a first snapshot must not wait for one that does not read.
                self.place = None;
                // The proxy may be gone already, or never read it.
                let _ = timeout(FAREWELL_MAX, self.responses.send(Err(status))).await;
            }
        }
    }

    async fn converse(&mut self) -> Result<(), Status> {
        let late = sleep(PLACE_HELD_MAX);
        tokio::pin!(late);
        loop {
            let request = tokio::select! {
                request = self.requests.next() => match request {
                    Some(request) => Some(request?),
                    None => return Ok(()),
                },
                () = self.wake.notified() => {
                    if self.connected.is_over() {
                        return Err(Status::unavailable("the control plane is stopping"));
                    }
                    self.dirty = true;
                    None
                }
                permit = self.responses.reserve(), if !self.pending.is_empty() => {
                    let permit = permit.map_err(|_| Status::cancelled("the proxy has gone"))?;
                    if let Some(response) = self.pending.pop_front() {
                        permit.send(Ok(response));
                    }
                    None
                }
                () = self.responses.closed() => return Ok(()),
                () = &mut late, if self.place.is_some() => {
                    self.place = None;
                    None
                }
            };
            if let Some(request) = request {
                self.received(request)?;
            }
            // A proxy that starts asks for several topics at once: answered together, they are one batch.
            while let Some(Some(request)) = self.requests.next().now_or_never() {
                self.received(request?)?;
            }
            if self.begun
                && self.dirty
                && self.pending.is_empty()
                && self.acknowledgements.has_room()
            {
                self.compare();
            }
        }
    }

    fn received(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        if self.id.is_none() {
            let node = request.node.clone().unwrap_or_default();
            // Shown to operators: a name, and one in the namespace that its certificate says.
            let named = node.id.parse::<InstanceName>();
            if !named.is_ok_and(|name| name.service.namespace == self.identity.namespace) {
                return Err(Status::invalid_argument(
                    "the first request must name its node as namespace/service/instance, in the namespace of its \
                     identity",
                ));
            }
            let understands = Understands::of(&node.client_features);
            self.subscriptions.understand_only(understands);
            let (id, wake) = self.connected.joined(&node, &self.identity, now_text());
            self.connected.is_under(id, self.root.clone());
            (self.id, self.wake) = (Some(id), wake);
        }
        if !request.response_nonce.is_empty() {
            self.answered(&request);
        }
        self.subscriptions.bounded()?;
        if request.type_url == type_url::REVISION {
            // Every batch ends with one, asked for or not. A proxy that starts asks for it last: until then the rest of
            // what it wants may be on its way.
            (self.begun, self.dirty) = (true, true);
            return Ok(());
        }
        let topic = Topic::from_type_url(&request.type_url).ok_or_else(|| {
            Status::invalid_argument(format!("no resources of type {:?} here", request.type_url))
        })?;
        let Some(id) = self.id else { return Ok(()) };
        let dropped = &request.resource_names_unsubscribe;
        self.subscriptions.unsubscribe(topic, dropped);
        self.connected.unsubscribed(id, topic, dropped);
        let names = request.resource_names_subscribe;
        if !names.is_empty() || !request.initial_resource_versions.is_empty() {
            let versions = request.initial_resource_versions;
            self.subscriptions
                .subscribe(topic, names.clone(), versions)?;
            self.connected.subscribed(id, topic, &names);
        }
        self.dirty = true;
        Ok(())
    }

    fn answered(&mut self, request: &DeltaDiscoveryRequest) {
        let Some(id) = self.id else { return };
        let answer = match &request.error_detail {
            None => self.acknowledgements.accepted(&request.response_nonce),
            Some(_) => self.acknowledgements.refused(&request.response_nonce),
        };
        if matches!(answer, Answer::Applied(_) | Answer::Refused { .. }) {
            self.place = None;
        }
        match answer {
            Answer::Received => {}
            Answer::Stale => debug!(
                nonce = request.response_nonce,
                "answer to nothing in flight"
            ),
            Answer::Applied(Closing {
                generation,
                revision,
            }) => {
                // With something of it refused, it runs parts of the revision, not the revision.
                let whole = self.subscriptions.is_clean();
                self.connected
                    .applied(id, generation, whole.then_some(revision));
                self.connected.took(id, revision, &self.subscriptions);
            }
            Answer::Refused {
                revision,
                culprits,
                others,
            } => {
                let message = request
                    .error_detail
                    .as_ref()
                    .map(|detail| detail.message.as_str());
                let message: String = message
                    .unwrap_or_default()
                    .chars()
                    // It ends up on operators' terminals.
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .take(NACK_LENGTH_MAX)
                    .collect();
                warn!(identity = %self.identity, revision, message, "proxy refused configuration");
                self.connected.refused(
                    id,
                    NackReport {
                        revision,
                        message,
                        at: now_text(),
                    },
                );
                for (topic, names) in culprits {
                    self.subscriptions.refused(topic, names, revision);
                }
                for (topic, names) in others {
                    self.subscriptions.doubt(topic, names);
                }
                self.connected.refuses(id, revision, &self.subscriptions);
            }
        }
        if self.acknowledgements.is_empty() {
            self.subscriptions.nothing_in_flight();
        }
        // There may be room for what has waited, and the proxy may be up to date now.
        self.dirty = true;
    }

    fn compare(&mut self) {
        self.dirty = false;
        let snapshot = self.snapshots.borrow().clone();
        let Some(id) = self.id else { return };
        let closing = Closing {
            generation: snapshot.generation,
            revision: snapshot.revision().number,
        };
        match self.subscriptions.difference(&snapshot, &self.identity) {
            Some(batch) => {
                self.connected.up_to_date(id, closing.revision, false);
                self.enqueue(batch, closing, &snapshot);
            }
            None if self.acknowledgements.is_empty() => {
                // All but what it refuses: that keeps nobody waiting for it.
                self.connected.applied(id, closing.generation, None);
                if self.subscriptions.is_clean() {
                    self.connected.up_to_date(id, closing.revision, true);
                }
            }
            None => {}
        }
    }

    fn enqueue(&mut self, batch: Batch, closing: Closing, snapshot: &Snapshot) {
        let responses: Vec<(Topic, DeltaDiscoveryResponse)> =
            batch.parts.into_iter().flat_map(responses).collect();
        let names = responses
            .iter()
            .map(|(topic, response)| (*topic, names(response)))
            .collect();
        let nonces = self.acknowledgements.sent(names, closing);
        let version = closing.revision.to_string();
        for (index, (_, mut response)) in responses.into_iter().enumerate() {
            response.nonce = nonces.part(index);
            response.system_version_info.clone_from(&version);
            self.pending.push_back(response);
        }
        let mut end = closing_response(snapshot);
        end.nonce = nonces.closing();
        end.system_version_info = version;
        self.pending.push_back(end);
    }
}

#[cfg(test)]
mod tests;
