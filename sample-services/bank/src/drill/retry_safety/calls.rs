//! One call to a flaky service, over REST or gRPC.

use std::time::Duration;

use bank_chassis::proto::fraud::{AssessRequest, fraud_client::FraudClient};
use http::{Method, Request};
use http_body_util::Full;

use crate::{auditor::Caller, flaky::Ending};

/// Longer than the callers' patience in `mesh/retry-safety.yaml`.
const DEADLINE: Duration = Duration::from_secs(5);

/// How a service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Rest,
    Grpc,
}

impl Protocol {
    /// The service of this kind that plays the given part.
    pub(super) fn service(self, target: &'static str) -> &'static str {
        match (self, target) {
            (Self::Rest, "guarded") => "guarded-rest",
            (Self::Rest, "spare") => "spare-rest",
            (Self::Rest, _) => "flaky-rest",
            (Self::Grpc, "guarded") => "guarded-grpc",
            (Self::Grpc, "spare") => "spare-grpc",
            (Self::Grpc, _) => "flaky-grpc",
        }
    }

    pub(super) fn instance(self, target: &'static str, replica: u32) -> String {
        format!("{}-{replica}", self.service(target))
    }

    /// How such a service can fail after doing the work.
    pub(super) fn failures(self) -> Vec<Ending> {
        match self {
            Self::Rest => vec![
                Ending::Failure("500"),
                Ending::Failure("503"),
                Ending::Drop,
                Ending::Late,
            ],
            Self::Grpc => {
                vec![
                    Ending::Failure("unavailable"),
                    Ending::Failure("internal"),
                    Ending::Late,
                ]
            }
        }
    }

    /// How such a service can fail the first time only.
    pub(super) fn passing_failures(self) -> Vec<Ending> {
        match self {
            Self::Rest => vec![Ending::FailureOnce("503"), Ending::DropOnce],
            Self::Grpc => vec![Ending::FailureOnce("unavailable")],
        }
    }
}

/// What is sent: which service, how it shall end, and whether it may be repeated.
#[derive(Debug, Clone)]
pub(super) struct Call {
    protocol: Protocol,
    target: &'static str,
    ending: Ending,
    method: Method,
    has_key: bool,
}

impl Call {
    /// Not repeatable: POST without a key.
    pub(super) fn new(protocol: Protocol, target: &'static str, ending: Ending) -> Self {
        Self {
            protocol,
            target,
            ending,
            method: Method::POST,
            has_key: false,
        }
    }

    /// The same call in every form that may be repeated.
    pub(super) fn repeatable(self) -> Vec<Self> {
        let keyed = Self {
            has_key: true,
            ..self.clone()
        };
        match self.protocol {
            Protocol::Rest => vec![
                keyed,
                Self {
                    method: Method::GET,
                    ..self
                },
            ],
            Protocol::Grpc => vec![keyed],
        }
    }

    /// Whoever does it, and however often.
    pub(super) fn does_no_harm(&self) -> bool {
        self.method == Method::GET
    }

    /// For people: `POST flaky-rest 503`, `POST flaky-rest 503-once with a key`.
    pub(super) fn name(&self) -> String {
        let method = if self.protocol == Protocol::Grpc {
            "gRPC"
        } else {
            self.method.as_str()
        };
        let key = if self.has_key { " with a key" } else { "" };
        format!(
            "{method} {} {}{key}",
            self.protocol.service(self.target),
            self.ending.word()
        )
    }

    /// Ids for so many requests of this kind, never used before.
    pub(super) fn ids(&self, count: usize) -> Vec<String> {
        let id = |number| {
            format!(
                "{}-{}-{number}",
                self.name().replace(' ', "-"),
                uuid::Uuid::new_v4()
            )
        };
        (0..count).map(id).collect()
    }

    /// Sends it once; whether the caller was told that it succeeded.
    ///
    /// # Errors
    /// When the auditor's own sidecar does not answer.
    pub(super) async fn send(&self, caller: &Caller, id: &str) -> anyhow::Result<bool> {
        match self.protocol {
            Protocol::Rest => self.send_rest(caller, id).await,
            Protocol::Grpc => self.send_grpc(caller, id).await,
        }
    }

    async fn send_rest(&self, caller: &Caller, id: &str) -> anyhow::Result<bool> {
        let host = self.protocol.service(self.target);
        let uri = format!("http://{host}.bank:8080/task/{}", self.ending.word());
        let mut request = Request::builder()
            .method(&self.method)
            .uri(uri)
            .header("x-work-id", id);
        if self.has_key {
            request = request.header("idempotency-key", id);
        }
        Ok(caller
            .send(request.body(Full::from("payload"))?)
            .await?
            .status
            .is_success())
    }

    async fn send_grpc(&self, caller: &Caller, id: &str) -> anyhow::Result<bool> {
        let url = match self.target {
            "guarded" => "http://guarded-grpc.bank:8080",
            _ => "http://flaky-grpc.bank:8080",
        };
        let mut client = FraudClient::new(caller.channel(url)?);
        let message = AssessRequest {
            payment_id: id.to_owned(),
            ..Default::default()
        };
        let mut request = tonic::Request::new(message);
        request.set_timeout(DEADLINE);
        request
            .metadata_mut()
            .insert("x-ending", self.ending.word().parse()?);
        if self.has_key {
            request
                .metadata_mut()
                .insert("idempotency-key", id.parse()?);
        }
        Ok(client.assess(request).await.is_ok())
    }
}
