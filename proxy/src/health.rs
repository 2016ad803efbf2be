//! Our own application's health: checked here, reported to the control plane, believed by every caller.
//!
//! Callers do not probe: with n callers and m instances that would be n·m probes, and m is enough.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tonic::{Code, Status, client::Grpc, transport::Endpoint};
use tracing::{debug, info, warn};

use usher_config::{
    model::{HealthCheck, HealthProbe},
    value::Port,
};

use crate::snapshot::Store;

/// What callers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// Send requests.
    Healthy,
    /// Send none. Every application begins here.
    #[default]
    Unhealthy,
}

/// Health, and what people are told about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What callers are told.
    pub health: Health,
    /// Which check failed last, and what it got (`GET http://127.0.0.1:9090/healthz → 404 Not Found`). `None`: healthy,
    /// or not checked yet.
    pub failure: Option<String>,
}

impl Report {
    /// For the wire: empty means none.
    pub fn reason(&self) -> String {
        self.failure.as_deref().unwrap_or_default().to_owned()
    }
}

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// In time and well.
    Passed,
    /// Anything else.
    Failed,
}

/// Health from outcomes in a row. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streak {
    health: Health,
    /// Outcomes in a row that speak against `health`.
    against: u32,
}

impl Default for Streak {
    fn default() -> Self {
        Self {
            health: Health::Unhealthy,
            against: 0,
        }
    }
}

impl Streak {
    /// Takes one outcome in; the health afterwards.
    pub fn observe(&mut self, outcome: Outcome, check: &HealthCheck) -> Health {
        let (agrees, threshold, other) = match (self.health, outcome) {
            (Health::Healthy, Outcome::Passed) | (Health::Unhealthy, Outcome::Failed) => {
                (true, 0, self.health)
            }
            (Health::Healthy, Outcome::Failed) => {
                (false, check.failure_threshold, Health::Unhealthy)
            }
            (Health::Unhealthy, Outcome::Passed) => {
                (false, check.success_threshold, Health::Healthy)
            }
        };
        if agrees {
            self.against = 0;
            return self.health;
        }
        self.against = self.against.saturating_add(1);
        if self.against >= threshold {
            *self = Self {
                health: other,
                against: 0,
            };
        }
        self.health
    }
}

/// Between checks at least this long, whatever the policy says: the application has other work too.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// After the first check of an application that has never been healthy: whoever starts it waits for it. Doubled with
/// each further one up to the policy's interval, so that one that never comes up is soon asked no more often than others.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait after a check. `failed_starts` counts those before the application was healthy for the first time;
/// `None`: it has been. Pure.
fn pause(interval: Duration, failed_starts: Option<u32>) -> Duration {
    let interval = interval.max(INTERVAL_MIN);
    match failed_starts {
        None => interval,
        Some(count) => FIRST_PAUSE
            .saturating_mul(1 << count.saturating_sub(1).min(16))
            .min(interval),
    }
}

/// Checks for ever; follows changes of the policy. Until a policy is in, a TCP connection is the check.
pub async fn watch_application(port: Port, store: Arc<Store>, health: watch::Sender<Report>) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()));
    let mut streak = Streak::default();
    let mut failed_starts = Some(0_u32);
    loop {
        let check = store
            .load()
            .inbound()
            .and_then(|inbound| inbound.health_check.clone())
            .unwrap_or_default();
        let checked = outcome(address, &check).await;
        let outcome = match &checked {
            Ok(()) => Outcome::Passed,
            Err(_) => Outcome::Failed,
        };
        let now = streak.observe(outcome, &check);
        let failure = match now {
            Health::Healthy => None,
            Health::Unhealthy => checked.err(),
        };
        let report = Report {
            health: now,
            failure,
        };
        health.send_if_modified(|before| replace(before, report));
        failed_starts = match now {
            Health::Healthy => None,
            Health::Unhealthy => failed_starts.map(|count| count.saturating_add(1)),
        };
        sleep(pause(check.interval, failed_starts)).await;
    }
}

/// Whether others must hear of it at once: health changed, or there is a first reason. A reason that changes with every
/// check travels with the next renewal of the lease.
fn replace(before: &mut Report, now: Report) -> bool {
    let changed = before.health != now.health;
    let reason = now.failure.as_deref();
    match (changed, now.health) {
        (true, Health::Healthy) => info!("application is healthy"),
        (true, Health::Unhealthy) => warn!(reason, "application is not healthy"),
        (false, Health::Unhealthy) if before.failure.is_none() && reason.is_some() => {
            info!(reason, "application is not healthy yet");
        }
        (false, _) => {}
    }
    let news = changed || (before.failure.is_none() && now.failure.is_some());
    // After a pass that was not enough, the reason before it is still the best there is.
    let failure = match now.health {
        Health::Healthy => None,
        Health::Unhealthy => now.failure.or_else(|| before.failure.take()),
    };
    *before = Report {
        health: now.health,
        failure,
    };
    news
}

/// What is asked, as people would ask it.
fn question(address: SocketAddr, probe: &HealthProbe) -> String {
    match probe {
        HealthProbe::Tcp => format!("TCP connection to {address}"),
        HealthProbe::Http { path } => format!("GET http://{address}{path}"),
        HealthProbe::Grpc { service } if service.is_empty() => {
            format!("grpc.health.v1.Health/Check on {address}")
        }
        HealthProbe::Grpc { service } => {
            format!("grpc.health.v1.Health/Check of {service} on {address}")
        }
    }
}

/// One check; the error says what was asked, and what came instead.
async fn outcome(address: SocketAddr, check: &HealthCheck) -> Result<(), String> {
    let probe = async {
        match &check.probe {
            HealthProbe::Tcp => connected(address).await.map(drop),
            HealthProbe::Http { path } => http(address, path).await,
            HealthProbe::Grpc { service } => grpc(address, service).await,
        }
    };
    let answer = match timeout(check.timeout, probe).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {:?}", check.timeout)),
    };
    answer.map_err(|found| {
        let failure = format!("{} → {found}", question(address, &check.probe));
        debug!(failure, "health check failed");
        failure
    })
}

/// The error is for people.
pub(crate) async fn connected(address: SocketAddr) -> Result<TcpStream, String> {
    let connecting = TcpStream::connect(address).await;
    connecting.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there".to_owned(),
        _ => error.to_string(),
    })
}

async fn http(address: SocketAddr, path: &str) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let path: Uri = path.parse().map_err(|e: http::uri::InvalidUri| text(&e))?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "usher-proxy/health")
        .body(Empty::<Bytes>::new())
        .map_err(|e| text(&e))?;
    let stream = connected(address).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| text(&e))?;
    let (response, connection) = (sender.send_request(request), connection);
    tokio::pin!(response, connection);
    let response = tokio::select! {
        response = &mut response => response,
        // An application may close as soon as it has answered.
        _ = &mut connection => response.await,
    };
    let response = response.map_err(|error| format!("no HTTP/1.1 answer ({error})"))?;
    let status = response.status();
    if (200..400).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(status.to_string())
    }
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct GrpcHealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct GrpcHealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

/// The error says what came instead of `SERVING`.
pub(crate) async fn grpc(address: SocketAddr, service: &str) -> Result<(), String> {
    // For its words: what tonic says of a refused connection is "transport error".
    drop(connected(address).await?);
    let no_grpc = |error: tonic::transport::Error| format!("no gRPC answer ({error})");
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(no_grpc)?;
    let channel = endpoint.connect().await.map_err(no_grpc)?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(no_grpc)?;
    let codec = tonic_prost::ProstCodec::<GrpcHealthRequest, GrpcHealthResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = tonic::Request::new(GrpcHealthRequest {
        service: service.to_owned(),
    });
    let response = client
        .unary(request, path, codec)
        .await
        .map_err(|status| refusal(&status))?;
    match response.into_inner().status {
        SERVING => Ok(()),
        2 => Err("NOT_SERVING".to_owned()),
        3 => Err("SERVICE_UNKNOWN".to_owned()),
        other => Err(format!("status {other}, not SERVING")),
    }
}

fn refusal(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "UNIMPLEMENTED: it does not serve grpc.health.v1.Health".to_owned(),
        Code::NotFound => "NOT_FOUND: it knows no health of that service".to_owned(),
        code if status.message().is_empty() => format!("{code:?}"),
        code => format!("{code:?}: {}", status.message()),
    }
}

#[cfg(test)]
mod tests;
