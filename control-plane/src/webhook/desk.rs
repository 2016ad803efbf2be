//! One request of an API server: whether it may be read, what it asks, what is answered.
//!
//! An answer other than 200 is a call that failed: the API server then does what `failurePolicy` says. So 200 is only what
//! was decided, and whatever keeps us from deciding has a status and the reason in words.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use tracing::{debug, error, info};
use usher_config::value::Name;

use super::{
    inject::inject,
    review::{self, Malformed, Verdict},
    validate::validate,
};
use crate::{
    inject::Settings,
    state::State,
    telemetry::metrics::{Admission, AdmissionMetrics, AdmissionOutcome},
};

/// Two objects of 3 MiB, which is what API servers take of one (an update has the old one, too), and what is around them.
const BODY_BYTES_MAX: usize = (2 * 3 + 1) << 20;

/// Of all requests together. Read into trees they take twenty times as much, of [`WORKERS`] at once.
const ALL_BODY_BYTES_MAX: usize = 64 << 20;

/// How long a request's body may take: API servers are near, and wait 30 s at most, 10 by default.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers that are worked out at once. A pod takes a millisecond; more would only make all of them late.
const WORKERS: usize = 8;

/// How long a request may wait for its turn: the API server asks again, or says why it did not.
const LINE_MAX: Duration = Duration::from_secs(2);

/// Requests that wait for their turn or have it.
const IN_LINE_MAX: usize = 256;

type Answer = Response<Full<Bytes>>;

/// Where requests are answered.
pub(super) struct Desk {
    mesh: State,
    settings: Settings,
    metrics: Arc<AdmissionMetrics>,
    bytes: Arc<Semaphore>,
    line: Semaphore,
    workers: Arc<Semaphore>,
}

/// Why a request is not decided.
#[derive(Debug, thiserror::Error)]
enum Undecided {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("found Content-Type `{0}`, allowed: application/json")]
    ContentType(String),
    #[error("found a request of more than {BODY_BYTES_MAX} bytes, allowed: two objects of 3 MiB")]
    TooLarge,
    #[error("the request did not come within {BODY_TIMEOUT:?}")]
    Slow,
    #[error("the request ended early")]
    Cut,
    #[error("too many requests are under way: try again")]
    Overloaded,
    #[error("it cannot be answered; the control plane's log says why")]
    Failed,
}

impl Desk {
    pub(super) fn new(mesh: State, settings: Settings, metrics: Arc<AdmissionMetrics>) -> Self {
        Self {
            mesh,
            settings,
            metrics,
            bytes: Arc::new(Semaphore::new(ALL_BODY_BYTES_MAX)),
            line: Semaphore::new(IN_LINE_MAX),
            workers: Arc::new(Semaphore::new(WORKERS)),
        }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let begun = Instant::now();
        // The query is the API server's timeout, for whoever would do something with it.
        let webhook = match request.uri().path() {
            "/inject" => Admission::Inject,
            "/validate" => Admission::Validate,
            _ => {
                let allowed = "found another path, allowed: /inject, /validate";
                return refusal(StatusCode::NOT_FOUND, allowed);
            }
        };
        if request.method() != Method::POST {
            let mut answer = refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("found {}, allowed: POST", request.method()),
            );
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        let (outcome, answer) = match self.decide(webhook, request).await {
            Ok((outcome, text)) => (outcome, json(text)),
            Err(undecided) => {
                debug!(webhook = webhook.as_str(), %undecided, "admission not decided");
                (undecided.outcome(), undecided.answer())
            }
        };
        self.metrics.count(webhook, outcome, begun.elapsed());
        answer
    }

    async fn decide(
        &self,
        webhook: Admission,
        request: Request<Incoming>,
    ) -> Result<(AdmissionOutcome, Vec<u8>), Undecided> {
        is_json(&request)?;
        let body = timeout(BODY_TIMEOUT, self.read(request.into_body()));
        let (body, _bytes) = body.await.map_err(|_| Undecided::Slow)??;
        let _line = self.line.try_acquire().map_err(|_| Undecided::Overloaded)?;
        let turn = timeout(LINE_MAX, Arc::clone(&self.workers).acquire_owned());
        // Never closed.
        let turn = turn.await.map_err(|_| Undecided::Overloaded)?;
        let turn = turn.map_err(|_| Undecided::Overloaded)?;
        let (mesh, settings) = (self.mesh.clone(), self.settings.clone());
        let decided = spawn_blocking(move || {
            // Held until it is worked out, also if whoever asked is gone by then.
            let _turn = turn;
            decided(webhook, &body, (&mesh, &settings))
        });
        match decided.await {
            Ok(decided) => Ok(decided?),
            Err(panicked) => {
                error!(%panicked, webhook = webhook.as_str(), "admission failed");
                Err(Undecided::Failed)
            }
        }
    }

    /// The body, and its part of what all may have.
    async fn read(
        &self,
        mut body: Incoming,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Undecided> {
        // Told at once, before it comes.
        let least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if least > BODY_BYTES_MAX {
            return Err(Undecided::TooLarge);
        }
        let mut read = BytesMut::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let Ok(part) = frame.map_err(|_| Undecided::Cut)?.into_data() else {
                continue;
            };
            if read.len().saturating_add(part.len()) > BODY_BYTES_MAX {
                return Err(Undecided::TooLarge);
            }
            let bytes = u32::try_from(part.len()).map_err(|_| Undecided::TooLarge)?;
            let more = Arc::clone(&self.bytes).try_acquire_many_owned(bytes);
            let more = more.map_err(|_| Undecided::Overloaded)?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            read.extend_from_slice(&part);
        }
        Ok((read.freeze(), held))
    }
}

fn is_json(request: &Request<Incoming>) -> Result<(), Undecided> {
    let written = request.headers().get(CONTENT_TYPE);
    let written = written.and_then(|value| value.to_str().ok());
    let written = written.unwrap_or_default();
    let kind = written.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Undecided::ContentType(written.chars().take(80).collect()))
}

fn decided(
    webhook: Admission,
    body: &[u8],
    (mesh, settings): (&State, &Settings),
) -> Result<(AdmissionOutcome, Vec<u8>), Malformed> {
    let request = review::Request::read(body)?;
    let (uid, title) = (request.uid.clone(), request.title());
    let verdict = match webhook {
        Admission::Inject => {
            let services = selecting(&request, mesh);
            let settings = Settings {
                services,
                ..settings.clone()
            };
            inject(request, &settings)
        }
        Admission::Validate => validate(request, mesh, SystemTime::now()),
    };
    let outcome = match &verdict {
        Verdict::Allowed { .. } => AdmissionOutcome::Allowed,
        Verdict::Patched { .. } => AdmissionOutcome::Patched,
        Verdict::Denied(denial) => {
            let why = denial.causes.first().map(|cause| cause.message.as_str());
            info!(
                webhook = webhook.as_str(),
                object = title,
                why,
                mistakes = denial.causes.len(),
                "admission denied"
            );
            AdmissionOutcome::Denied
        }
    };
    debug!(
        webhook = webhook.as_str(),
        object = title,
        outcome = outcome.as_str(),
        "admission answered"
    );
    Ok((outcome, verdict.answer(&uid)))
}

impl Undecided {
    fn outcome(&self) -> AdmissionOutcome {
        match self {
            Self::Malformed(_) | Self::ContentType(_) | Self::TooLarge => {
                AdmissionOutcome::Malformed
            }
            Self::Slow | Self::Cut => AdmissionOutcome::Slow,
            Self::Overloaded => AdmissionOutcome::Overloaded,
            Self::Failed => AdmissionOutcome::Failed,
        }
    }

    fn answer(&self) -> Answer {
        let status = match self {
            Self::Malformed(_) | Self::Cut => StatusCode::BAD_REQUEST,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut answer = refusal(status, &self.to_string());
        if matches!(self, Self::Overloaded) {
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

fn json(text: Vec<u8>) -> Answer {
    let kind = HeaderValue::from_static("application/json");
    with(StatusCode::OK, kind, text.into())
}

fn refusal(status: StatusCode, why: &str) -> Answer {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    with(status, kind, format!("{why}\n").into())
}

fn with(status: StatusCode, kind: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// Services of the mesh that select a new pod.
fn selecting(request: &review::Request, mesh: &State) -> Vec<Name> {
    let labels = request.object.pointer("/metadata/labels");
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    match request.namespace.parse() {
        Ok(namespace) => mesh.services_selecting(&namespace, &labels.collect()),
        Err(_) => Vec::new(),
    }
}
