//! Simulated sidecars: each a real connection by mutual TLS that speaks the delta protocol, acknowledges what it is told,
//! comes back with the back-off of `proxy/src/xds/stream.rs`, and remembers what it holds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use rustls::ClientConfig;
use tokio::task::JoinHandle;
use usher_config::wire::{
    client_feature,
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node},
    type_url,
};

use super::{
    observed::Observed,
    plan::Plan,
    wire::{ComeAgain, Connection},
};

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// By kind and name: the version.
pub(super) type Held = BTreeMap<(char, String), String>;

/// What all sidecars need.
#[derive(Debug)]
pub(super) struct Street {
    pub(super) address: String,
    pub(super) observed: Observed,
}

/// Who is connected.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    sidecars: BTreeMap<usize, Running>,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    held: Arc<Mutex<Held>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Crowd {
    /// This one begins to connect.
    pub(super) fn join(
        &mut self,
        number: usize,
        (plan, tls): (&Plan, &Arc<ClientConfig>),
        street: &Arc<Street>,
    ) {
        let sidecar = Sidecar::new(plan, number, tls.clone());
        let held = Arc::new(Mutex::new(Held::new()));
        let task = tokio::spawn(sidecar.live(street.clone(), held.clone()));
        self.sidecars.insert(number, Running { task, held });
    }

    /// These numbers and above leave.
    pub(super) fn leave(&mut self, from: usize) {
        drop(self.sidecars.split_off(&from));
    }

    pub(super) fn len(&self) -> usize {
        self.sidecars.len()
    }

    /// Every sidecar that does not hold what `expected` says of it.
    pub(super) fn astray(&self, expected: impl Fn(usize) -> Vec<(char, String)>) -> Vec<String> {
        let mut astray = Vec::new();
        for (number, running) in &self.sidecars {
            let held = running.held.lock().unwrap_or_else(PoisonError::into_inner);
            let mut expected = expected(*number);
            expected.sort();
            if !held.keys().eq(expected.iter()) {
                let missing = expected.iter().find(|name| !held.contains_key(name));
                let more = held
                    .keys()
                    .find(|name| expected.binary_search(name).is_err());
                astray.push(format!("sidecar {number} lacks {missing:?}, has {more:?}"));
            }
        }
        astray
    }
}

#[derive(Debug)]
struct Sidecar {
    tls: Arc<ClientConfig>,
    node: Node,
    own: String,
    calls: Vec<String>,
}

impl Sidecar {
    fn new(plan: &Plan, number: usize, tls: Arc<ClientConfig>) -> Self {
        let name = |service| format!("default/{}", Plan::service(service));
        let own = name(plan.own_service(number));
        Self {
            node: Node {
                id: format!("{own}/sidecar-{number}"),
                cluster: own.clone(),
                user_agent_name: "usher-load".to_owned(),
                client_features: [client_feature::STREAM_ROUTES, client_feature::GUARDS]
                    .map(str::to_owned)
                    .into(),
            },
            own,
            calls: plan.called_by(number).into_iter().map(name).collect(),
            tls,
        }
    }

    async fn live(self, street: Arc<Street>, held: Arc<Mutex<Held>>) {
        let (mut begun, mut failures) = (Some(Instant::now()), 0);
        let mut kept = None;
        loop {
            let connection = match kept.take() {
                Some(connection) => Ok(connection),
                None => Connection::open(&street.address, &self.tls).await,
            };
            let ended = match &connection {
                Ok(connection) => {
                    self.converse((connection, &street), &held, &mut begun)
                        .await
                }
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            let told = ended.as_ref().err().and_then(|error| error.downcast_ref());
            let told = told.map(|ComeAgain(after)| *after);
            let why = ended.map_or_else(|error| format!("{error:#}"), |()| "closed".to_owned());
            street.observed.failed(why);
            if let Some(after) = told {
                kept = connection.ok();
                tokio::time::sleep(after).await;
                continue;
            }
            let full = BACKOFF_MIN
                .saturating_mul(1 << failures.min(16))
                .min(BACKOFF_MAX);
            failures += 1;
            tokio::time::sleep(full.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }

    /// One stream. `begun`: when the sidecar was started, until it has its first snapshot.
    async fn converse(
        &self,
        (connection, street): (&Connection, &Street),
        held: &Mutex<Held>,
        begun: &mut Option<Instant>,
    ) -> Result<()> {
        let mut stream = connection
            .stream(
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            )
            .await?;
        for request in self.first_requests(held) {
            stream.send(&request)?;
        }
        let mut staged: Vec<DeltaDiscoveryResponse> = Vec::new();
        while let Some(response) = stream.next::<DeltaDiscoveryResponse>().await? {
            let answer = DeltaDiscoveryRequest {
                type_url: response.type_url.clone(),
                response_nonce: response.nonce.clone(),
                ..Default::default()
            };
            if response.type_url == type_url::REVISION {
                self.apply(std::mem::take(&mut staged), street, held);
                if let Some(begun) = begun.take() {
                    street.observed.synchronised(begun.elapsed());
                }
            } else {
                staged.push(response);
            }
            stream.send(&answer)?;
        }
        Ok(())
    }

    /// As `Subscription::opened` in `proxy/src/xds/subscription.rs`.
    fn first_requests(&self, held: &Mutex<Held>) -> Vec<DeltaDiscoveryRequest> {
        let held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = self.calls.iter().map(|name| format!("{name}/*")).collect();
        let asked = [
            (type_url::TRUST_BUNDLE, vec!["*".to_owned()]),
            (type_url::INBOUND_POLICY, vec![self.own.clone()]),
            (type_url::ENDPOINT, endpoints),
            (type_url::SERVICE, self.calls.clone()),
            (type_url::REVISION, vec!["*".to_owned()]),
        ];
        let mut node = Some(self.node.clone());
        let request = |(type_url, names): (&str, Vec<String>)| {
            let of_kind = held
                .iter()
                .filter(|((kind, _), _)| *kind == letter(type_url));
            let versions = of_kind.map(|((_, name), version)| (name.clone(), version.clone()));
            DeltaDiscoveryRequest {
                node: node.take(),
                type_url: type_url.to_owned(),
                resource_names_subscribe: names,
                initial_resource_versions: versions.collect::<HashMap<_, _>>(),
                ..Default::default()
            }
        };
        asked.into_iter().map(request).collect()
    }

    fn apply(&self, staged: Vec<DeltaDiscoveryResponse>, street: &Street, held: &Mutex<Held>) {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let names = staged.iter().flat_map(|response| {
            let resources = response.resources.iter().map(|resource| &*resource.name);
            resources.chain(response.removed_resources.iter().map(|name| &**name))
        });
        street.observed.batch(names, Instant::now());
        for response in staged {
            let kind = letter(&response.type_url);
            for resource in response.resources {
                if !self.asked_for(kind, &resource.name) {
                    street.observed.uncalled_for();
                }
                held.insert((kind, resource.name), resource.version);
            }
            for name in response.removed_resources {
                held.remove(&(kind, name));
            }
        }
    }

    fn asked_for(&self, kind: char, name: &str) -> bool {
        let called = |name: &str| self.calls.iter().any(|called| called == name);
        match kind {
            'I' => name == self.own,
            'S' => called(name),
            'E' => name
                .rsplit_once('/')
                .is_some_and(|(service, _)| called(service)),
            _ => true,
        }
    }
}

/// The first of its name: `S`ervice, `E`ndpoint, `I`nboundPolicy, `T`rustBundle.
fn letter(type_url: &str) -> char {
    let name = type_url.rsplit('.').next().unwrap_or_default();
    name.chars().next().unwrap_or('?')
}

/// What a sidecar holds that has been told everything; `endpoints` are the instances of a service.
pub(super) fn expected(
    (plan, number): (&Plan, usize),
    endpoints: impl Fn(usize) -> Vec<String>,
) -> Vec<(char, String)> {
    let name = |service| format!("default/{}", Plan::service(service));
    let mut all = vec![
        ('T', "test.mesh".to_owned()),
        ('I', name(plan.own_service(number))),
    ];
    for service in plan.called_by(number) {
        all.push(('S', name(service)));
        let instances = endpoints(service).into_iter();
        all.extend(instances.map(|instance| ('E', format!("{}/{instance}", name(service)))));
    }
    all
}
