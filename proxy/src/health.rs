//! Our own application's health: checked here, reported to the control plane, believed by every caller.
//!
//! Callers do not probe: with n callers and m instances that would be n·m probes, and m is enough.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tonic::{client::Grpc, transport::Endpoint};
use tracing::{debug, info, warn};

use usher_config::{
    model::{HealthCheck, HealthProbe},
    value::Port,
};

use crate::snapshot::Store;

/// What callers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Send requests.
    Healthy,
    /// Send none. Every application begins here.
    Unhealthy,
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

/// Between checks at most this long until the application is up: whoever starts it waits for it.
const INTERVAL_AT_START: Duration = Duration::from_millis(200);

/// Checks for ever; follows changes of the policy. Until a policy is in, a TCP connection is the check.
pub async fn watch_application(port: Port, store: Arc<Store>, health: watch::Sender<Health>) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()));
    let mut streak = Streak::default();
    let mut slowest = INTERVAL_AT_START;
    loop {
        let check = store
            .load()
            .inbound()
            .and_then(|inbound| inbound.health_check.clone())
            .unwrap_or_default();
        let outcome = outcome(address, &check).await;
        let now = streak.observe(outcome, &check);
        health.send_if_modified(|before| {
            let changed = *before != now;
            match (changed, now) {
                (true, Health::Healthy) => info!(%address, "application is healthy"),
                (true, Health::Unhealthy) => warn!(%address, "application is not healthy"),
                (false, _) => {}
            }
            *before = now;
            changed
        });
        if now == Health::Healthy {
            slowest = Duration::MAX;
        }
        sleep(check.interval.clamp(INTERVAL_MIN, slowest)).await;
    }
}

async fn outcome(address: SocketAddr, check: &HealthCheck) -> Outcome {
    let probe = async {
        match &check.probe {
            HealthProbe::Tcp => TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(|error| error.to_string()),
            HealthProbe::Http { path } => http(address, path).await,
            HealthProbe::Grpc { service } => grpc(address, service).await,
        }
    };
    match timeout(check.timeout, probe).await {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(reason)) => {
            debug!(%address, reason, "health check failed");
            Outcome::Failed
        }
        Err(_) => {
            debug!(%address, limit = ?check.timeout, "health check timed out");
            Outcome::Failed
        }
    }
}

async fn http(address: SocketAddr, path: &str) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let path: Uri = path.parse().map_err(|e: http::uri::InvalidUri| text(&e))?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "usher-proxy/health")
        .body(Empty::<Bytes>::new())
        .map_err(|e| text(&e))?;
    let stream = TcpStream::connect(address).await.map_err(|e| text(&e))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| text(&e))?;
    let (response, connection) = (sender.send_request(request), connection);
    tokio::pin!(response, connection);
    let response = tokio::select! {
        response = &mut response => response,
        // An application may close as soon as it has answered.
        _ = &mut connection => response.await,
    };
    let response = response.map_err(|e| text(&e))?;
    let status = response.status();
    if (200..400).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(format!("status {status}"))
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

async fn grpc(address: SocketAddr, service: &str) -> Result<(), String> {
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| error.to_string())?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let codec = tonic_prost::ProstCodec::<GrpcHealthRequest, GrpcHealthResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = tonic::Request::new(GrpcHealthRequest {
        service: service.to_owned(),
    });
    let response = client
        .unary(request, path, codec)
        .await
        .map_err(|status| status.message().to_owned())?;
    match response.into_inner().status {
        SERVING => Ok(()),
        other => Err(format!("status {other}, not SERVING")),
    }
}

#[cfg(test)]
mod tests;
