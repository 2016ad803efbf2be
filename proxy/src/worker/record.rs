//! One request from its head to the end of its response: what it will say in log and metrics.
//!
//! Whatever way it ends, it speaks exactly once: finished responses through [`Observer`], dropped ones
//! (the caller went away) through `Drop`.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header, uri};
use usher_config::value::{PathReading, SpiffeId};

use crate::{
    balance::affinity,
    clock::{self, Tick},
    error::{Flags, ProxyError, Refusal},
    http::{Body, Interim, Replay, head, watched::Observer},
    telemetry::{
        access_log::Entry,
        metrics::{Direction, Histogram, Outcomes, Requests},
    },
};

use super::{StreamPlace, Worker, settlement::Settlement};

/// See the module. Fields are filled in as stages find them out.
pub struct Record {
    worker: Rc<Worker>,
    direction: Direction,
    began: Tick,
    time: SystemTime,
    /// As sent.
    pub method: Method,
    /// As sent, without user information.
    pub authority: Option<uri::Authority>,
    /// Normalised once it has been.
    pub path: Option<uri::PathAndQuery>,
    /// `http1`, `http2`, `grpc` or `tcp`.
    pub protocol: &'static str,
    /// All that happened.
    pub flags: Flags,
    /// Slug of a proxy-made answer.
    pub reason: Option<&'static str>,
    /// What the other side's certificate lacked, or why there can be no TLS: of answers whose slug does not say.
    pub detail: Option<Arc<str>>,
    /// Traffic or access policy that decided.
    pub policy: Option<Arc<str>>,
    /// Route that took it.
    pub route: Option<Arc<str>>,
    /// The caller's verified identity.
    pub source: Option<SpiffeId>,
    /// On the way out our own service. On the way in `namespace/service-account` of the caller: a certificate names
    /// no service, and a header that did would be hearsay.
    pub source_service: Option<Arc<str>>,
    /// Where an outsider calls from.
    pub client: Option<IpAddr>,
    /// The answerer's verified identity.
    pub destination: Option<SpiffeId>,
    /// The service that was asked.
    pub service: Option<Arc<str>>,
    /// Of the last attempt.
    pub upstream: Option<SocketAddr>,
    /// Made.
    pub attempts: u32,
    /// The request's body, for its size.
    pub request: Option<Replay>,
    /// Bytes of an opaque stream from its caller: it has no request.
    pub request_bytes: u64,
    /// On all hops the same.
    pub request_id: Option<HeaderValue>,
    /// Of the trace it belongs to.
    pub trace_id: Option<u128>,
    /// Counts it; unknown until the service is.
    pub requests: Option<Requests>,
    /// Measures it; unknown until the service is.
    pub duration: Option<Histogram>,
    /// Counts what passes if the request leaves HTTP.
    pub tcp_bytes: Option<Outcomes>,
    /// Where interim answers go.
    pub interim: Interim,
    /// What is owed to breaker and endpoint.
    pub settlement: Settlement,
    status: u16,
    grpc_status: Option<u8>,
    attempt_began: Option<Tick>,
    head_at: Option<Tick>,
    spoken: bool,
    _place: StreamPlace,
}

impl Record {
    /// Whether its answer has no body, whatever it says.
    pub fn answers_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Of a request whose head has just come.
    pub fn begin(
        worker: &Rc<Worker>,
        direction: Direction,
        method: Method,
        protocol: &'static str,
    ) -> Self {
        Self {
            direction,
            began: clock::now(),
            time: clock::wall(),
            method,
            authority: None,
            path: None,
            protocol,
            flags: Flags::default(),
            reason: None,
            detail: None,
            policy: None,
            route: None,
            source: None,
            source_service: match direction {
                Direction::Outbound => Some(worker.own.clone()),
                Direction::Inbound => None,
            },
            client: None,
            destination: None,
            service: None,
            upstream: None,
            attempts: 0,
            request: None,
            request_bytes: 0,
            request_id: None,
            trace_id: None,
            requests: None,
            duration: None,
            tcp_bytes: None,
            interim: Interim::default(),
            settlement: Settlement::default(),
            status: 0,
            grpc_status: None,
            attempt_began: None,
            head_at: None,
            spoken: false,
            _place: worker.load.stream(direction),
            worker: worker.clone(),
        }
    }

    /// Of a copy, for which nobody speaks: it is counted where it was made.
    pub fn silent(worker: &Rc<Worker>, method: Method) -> Self {
        let mut record = Self::begin(worker, Direction::Outbound, method, "");
        record.spoken = true;
        record
    }

    /// When the request's head had come.
    pub fn began(&self) -> Tick {
        self.began
    }

    /// The hash of who calls: an outsider by its address, else our own instance.
    pub fn caller(&self) -> u64 {
        match self.client.map(|ip| ip.to_canonical()) {
            None => self.worker.shared.store.source(),
            Some(IpAddr::V4(ip)) => affinity::hash(&ip.octets()),
            Some(IpAddr::V6(ip)) => affinity::hash(&ip.octets()),
        }
    }

    /// Brings a request's head into one form, and notes what it asks for; where it is refused, as it was sent.
    ///
    /// # Errors
    /// As [`head::normalize`].
    pub fn read_head(
        &mut self,
        request: &mut Request<Body>,
        reading: PathReading,
    ) -> Result<(), ProxyError> {
        head::normalize(request, reading).inspect_err(|_| self.note_sent(request))?;
        self.authority = request.uri().authority().cloned();
        self.path = request.uri().path_and_query().cloned();
        Ok(())
    }

    /// What a request asks for that is refused before its head is in one form, as far as it says so. Without what it says
    /// of a user: that is a password, mostly.
    pub fn note_sent(&mut self, request: &Request<Body>) {
        if request.extensions().get::<Refusal>().is_some() {
            // Nothing of what stands in for an unreadable head is the caller's.
            return;
        }
        let named = request.uri().authority().map(uri::Authority::as_str);
        let host = request.headers().get(header::HOST);
        let named = named.or_else(|| host.and_then(|host| host.to_str().ok()));
        let named = named.map(|named| named.rsplit_once('@').map_or(named, |(_, host)| host));
        self.authority = named.and_then(|named| named.parse().ok());
        self.path = request.uri().path_and_query().cloned();
    }

    /// An attempt begins.
    pub fn attempt(&mut self, endpoint: SocketAddr, now: Tick) {
        self.attempts += 1;
        self.upstream = Some(endpoint);
        self.attempt_began = Some(now);
        self.head_at = None;
    }

    /// The attempt that had begun came to nothing before it was one: a limit was reached.
    pub fn no_attempt(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// The response's head that goes to the caller.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = status.as_u16();
        self.grpc_status = grpc_status(headers);
        self.head_at = Some(clock::now());
    }

    /// There was none after all: a connection counted as answered once it was open, and then nobody had taken it.
    pub fn no_head(&mut self) {
        self.status = 0;
        self.head_at = None;
    }

    /// The request ends in an answer of this proxy.
    pub fn error(&mut self, error: &ProxyError) {
        self.flags.set(error.flag());
        self.reason = Some(error.slug());
        if let ProxyError::AccessDenied { policy }
        | ProxyError::Unauthenticated { policy, .. }
        | ProxyError::RateLimited { policy, .. } = error
        {
            self.policy = Some(policy.clone());
        }
        if let ProxyError::TlsFailed { cause, .. } | ProxyError::Unverifiable { cause, .. } = error
        {
            self.detail = Some(cause.clone());
        }
        if let ProxyError::Internal { what } = error {
            self.worker
                .handles
                .internal_errors
                .add(self.worker.index, what);
        }
    }

    /// It was no stream of its own after all: others speak for what it carries.
    pub fn retract(mut self) {
        self.spoken = true;
    }

    fn speak(&mut self, response_bytes: u64) {
        if std::mem::replace(&mut self.spoken, true) {
            return;
        }
        let now = clock::now();
        self.settlement.at_end(&self.worker, self.grpc_status, now);
        let worker = &self.worker;
        if let Some(requests) = &self.requests {
            let status = if self.status == 0 {
                CLIENT_GONE
            } else {
                self.status
            };
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            requests.add(worker.index, status, self.flags.first());
        }
        let switched = self.status == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(duration) = &self.duration {
            // What came after an upgrade was no request, however long it lasted.
            let answered = self.head_at.filter(|_| switched).unwrap_or(now);
            duration.observe(worker.index, answered.since(self.began));
        }
        if let Some(bytes) = self.tcp_bytes.as_ref().filter(|_| switched) {
            bytes.add_many(worker.index, "up", self.request_bytes());
            bytes.add_many(worker.index, "down", response_bytes);
        }
        let snapshot = worker.snapshot();
        let Some(policy) = snapshot.inbound() else {
            return;
        };
        let entry = self.entry(response_bytes, now);
        if entry.is_wanted(&policy.telemetry, worker.random()) {
            worker.log(&entry, now);
        }
    }

    fn request_bytes(&self) -> u64 {
        let request = self.request.as_ref();
        request.map_or(self.request_bytes, Replay::bytes_passed)
    }

    fn entry(&self, response_bytes: u64, now: Tick) -> Entry<'_> {
        let upstream_duration = match (self.attempt_began, self.head_at) {
            (Some(began), Some(head)) => Some(head.since(began)),
            (Some(_), None) | (None, _) => None,
        };
        Entry {
            time: self.time,
            direction: self.direction,
            method: self.method.as_str(),
            authority: self.authority.as_ref().map_or("", uri::Authority::as_str),
            path: self.path.as_ref().map_or("", uri::PathAndQuery::path),
            protocol: self.protocol,
            status: self.status,
            grpc_status: self.grpc_status,
            flags: self.flags,
            reason: self.reason,
            detail: self.detail.as_deref(),
            policy: self.policy.as_deref(),
            route: self.route.as_deref(),
            source: self.source.as_ref().map(SpiffeId::as_str),
            source_service: self.source_service.as_deref(),
            client: self.client,
            destination: self.destination.as_ref().map(SpiffeId::as_str),
            destination_service: self.service.as_deref(),
            upstream: self.upstream,
            attempts: self.attempts,
            request_bytes: self.request_bytes(),
            response_bytes,
            duration: now.since(self.began),
            upstream_duration,
            request_id: self.request_id.as_ref().and_then(|id| id.to_str().ok()),
            trace_id: self.trace_id,
        }
    }
}

/// nginx's 499: the caller left before there was a status.
const CLIENT_GONE: u16 = 499;

impl Observer for Record {
    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(code) = grpc_status(trailers) {
            self.grpc_status = Some(code);
        }
    }

    fn end(&mut self, bytes: u64, result: Result<(), &ProxyError>) {
        if let Err(error) = result {
            self.error(error);
            self.settlement.broke_off(error);
        }
        self.speak(bytes);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.spoken {
            return;
        }
        // While its task is taken apart by a panic the caller gets no answer, and nobody else is to blame.
        let error = if std::thread::panicking() {
            ProxyError::Internal { what: "panic" }
        } else {
            ProxyError::DownstreamGone
        };
        self.error(&error);
        self.settlement.broke_off(&ProxyError::DownstreamGone);
        self.speak(0);
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The code in `grpc-status`; an unreadable one is UNKNOWN (2).
pub fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    let value = headers.get("grpc-status")?;
    Some(
        value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(2),
    )
}
