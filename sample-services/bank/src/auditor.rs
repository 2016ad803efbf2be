//! Questions to the bank's services, asked through the auditor's sidecar as any meshed program would.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bank_chassis::proto::account::{ListTotalsRequest, Total, account_client::AccountClient};
use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use tonic::transport::{Channel, Endpoint};

use crate::client::{self, Address, Answer};

/// Longer than any service of the bank takes, on a busy machine too.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A caller that sends everything to one sidecar's outbound port.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    outbound: SocketAddr,
}

/// What `transaction` says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PaymentStats {
    pub(crate) pending: u64,
    pub(crate) completed: u64,
    pub(crate) declined: u64,
    pub(crate) refunded: u64,
    pub(crate) outbox: Outboxes,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Outboxes {
    pub(crate) notification: Outbox,
    pub(crate) reporting: Outbox,
}

/// Events on their way to one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Outbox {
    pub(crate) waiting: u64,
    pub(crate) delivered: u64,
}

/// What a consumer of events says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ConsumerStats {
    /// Taken, each once.
    pub(crate) events: u64,
    /// Brought again and recognised.
    pub(crate) duplicates: u64,
}

impl Caller {
    pub(crate) fn through(outbound: SocketAddr) -> Self {
        Self { outbound }
    }

    /// Sends a request whose URI names a service: `http://transaction.bank/v1/stats`.
    ///
    /// # Errors
    /// When the sidecar does not answer.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        if let Some(authority) = request.uri().authority() {
            let host = authority.as_str().parse().context("not a host")?;
            request.headers_mut().insert(http::header::HOST, host);
        }
        client::exchange(&Address::Tcp(self.outbound), request, ANSWER_WITHIN).await
    }

    /// Reads a JSON resource.
    ///
    /// # Errors
    /// When the answer isn't a success, or isn't what was expected.
    pub(crate) async fn read<T: DeserializeOwned>(&self, url: &str) -> anyhow::Result<T> {
        let answer = self.send(Request::get(url).body(Full::default())?).await;
        answer
            .and_then(|answer| answer.json())
            .with_context(|| format!("cannot read {url}"))
    }

    /// A gRPC channel to a service: `http://account.bank:50051`.
    ///
    /// # Errors
    /// When the URL isn't one.
    pub(crate) fn channel(&self, url: &'static str) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.outbound))?;
        let endpoint = endpoint
            .origin(http::Uri::from_static(url))
            .timeout(ANSWER_WITHIN);
        Ok(endpoint.connect_lazy())
    }

    /// Sums over all accounts, by currency.
    ///
    /// # Errors
    /// When account does not answer.
    pub(crate) async fn totals(&self) -> anyhow::Result<Vec<Total>> {
        let mut account = AccountClient::new(self.channel("http://account.bank:50051")?);
        Ok(account
            .list_totals(ListTotalsRequest {})
            .await?
            .into_inner()
            .totals)
    }

    /// What `transaction` says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn payments(&self) -> anyhow::Result<PaymentStats> {
        self.read("http://transaction.bank/v1/stats").await
    }

    /// What a consumer says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn consumer(&self, service: &str) -> anyhow::Result<ConsumerStats> {
        self.read(&format!("http://{service}.bank/v1/stats")).await
    }
}

/// Tries again until it succeeds or `limit` is over: for questions right after a start.
///
/// # Errors
/// The last error.
pub(crate) async fn patiently<T>(
    limit: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(_) if begun.elapsed() < limit => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
}
