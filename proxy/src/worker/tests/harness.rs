//! Two sidecars and an application in one process, each on threads of its own.

use std::{
    convert::Infallible,
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use usher_config::model::{InboundPolicy, Service, TrafficPolicy};

use crate::{
    snapshot::Change,
    telemetry::metrics::Direction,
    tls::tests::TestAuthority,
    worker::{Phase, Workers},
};

use super::{
    application::{Answer, Application, Seen},
    client::{grpc_request, h2c, heard, talk},
    post,
    sidecar::{ENDPOINT, Sidecar, endpoint, inbound_policy, service},
    streamed,
};

pub(super) struct Mesh {
    pub(super) authority: TestAuthority,
    caller: Sidecar,
    pub(super) callee: Sidecar,
    application: Application,
    runtime: tokio::runtime::Runtime,
}

const DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn eventually(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "did not hold in time");
        thread::yield_now();
    }
}

pub(super) fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

impl Mesh {
    pub(super) fn start(policy: TrafficPolicy) -> Self {
        Self::with_workers(1, policy)
    }

    /// So many workers in each sidecar.
    pub(super) fn with_workers(workers: usize, policy: TrafficPolicy) -> Self {
        let authority = TestAuthority::new();
        let application = Application::start();
        let start = |name, application| Sidecar::start(&authority, workers, name, application);
        let caller = start("transaction", None);
        let callee = start("account", Some(application.address));
        caller.store.apply(Change {
            services: vec![("bank/account".parse().unwrap(), Some(service(policy)))],
            endpoints: vec![(ENDPOINT.parse().unwrap(), Some(endpoint(callee.inbound)))],
            ..Change::default()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            authority,
            caller,
            callee,
            application,
            runtime,
        }
    }

    pub(super) fn answer(&self, answer: Answer) {
        self.application.answer.store(Arc::new(answer));
    }

    pub(super) fn seen(&self) -> Seen {
        self.application.seen.load().to_vec()
    }

    pub(super) fn inbound(&self, change: impl FnOnce(&mut InboundPolicy)) {
        let mut policy = inbound_policy("account");
        change(&mut policy);
        self.callee.store.apply(Change {
            inbound: Some(policy),
            ..Change::default()
        });
    }

    /// As the caller's sidecar knows the service.
    pub(super) fn outbound(&self, change: impl FnOnce(&mut Service)) {
        let mut service = service(TrafficPolicy::default());
        change(&mut service);
        self.caller.store.apply(Change {
            services: vec![("bank/account".parse().unwrap(), Some(service))],
            endpoints: vec![(
                ENDPOINT.parse().unwrap(),
                Some(endpoint(self.callee.inbound)),
            )],
            ..Change::default()
        });
    }

    /// A second endpoint, where no sidecar is, and this policy.
    pub(super) fn beside(&self, address: SocketAddr, policy: TrafficPolicy) {
        let mut other = endpoint(address);
        other.name = "bank/account/b".parse().unwrap();
        self.caller.store.apply(Change {
            services: vec![("bank/account".parse().unwrap(), Some(service(policy)))],
            endpoints: vec![
                (
                    ENDPOINT.parse().unwrap(),
                    Some(endpoint(self.callee.inbound)),
                ),
                (other.name.clone(), Some(other)),
            ],
            ..Change::default()
        });
    }

    /// How long the first endpoint is expected to take.
    pub(super) fn expected(&self) -> Duration {
        let snapshot = self.caller.store.load();
        let service = snapshot.service(&"bank/account".parse().unwrap());
        let endpoint = &service.unwrap().endpoints[0];
        endpoint.state.view(crate::clock::now()).expected
    }

    /// The service has no sidecar, and this policy.
    pub(super) fn without_sidecar(&self, policy: TrafficPolicy) {
        let mut plain = endpoint(self.application.address);
        plain.meshed = false;
        self.caller.store.apply(Change {
            services: vec![("bank/account".parse().unwrap(), Some(service(policy)))],
            endpoints: vec![(ENDPOINT.parse().unwrap(), Some(plain))],
            ..Change::default()
        });
    }

    /// The first access log lines of caller and callee that have `word` in them.
    pub(super) fn logged(&self, word: &str) -> (String, String) {
        (self.caller.logged(word), self.callee.logged(word))
    }

    /// Whether the caller's sidecar comes to have such a line among its metrics.
    pub(super) fn counted_by_caller(&self, line: &str) {
        eventually(|| self.caller.counts(line));
    }

    pub(super) fn logged_by_callee(&self, word: &str) -> String {
        self.callee.logged(word)
    }

    pub(super) fn logged_by_caller(&self, word: &str) -> String {
        self.caller.logged(word)
    }

    /// A connection to the application's side of the caller's sidecar, or to the callee's sidecar itself.
    pub(super) fn connect(&self, direction: Direction) -> TcpStream {
        TcpStream::connect(match direction {
            Direction::Outbound => self.caller.outbound,
            Direction::Inbound => self.callee.inbound,
        })
        .unwrap()
    }

    /// As leaving does: once nothing is left to be waited for, the workers end.
    pub(super) fn stop_callee_when_idle(&mut self) -> bool {
        let active = self.callee.workers.as_ref().map(Workers::active);
        let idle = active.is_some_and(|active| active.is_idle(Direction::Inbound));
        if idle && let Some(workers) = self.callee.workers.take() {
            workers.stop();
        }
        idle
    }

    pub(super) fn remove_endpoint(&self) {
        let endpoints = vec![(ENDPOINT.parse().unwrap(), None)];
        self.caller.store.apply(Change {
            endpoints,
            ..Change::default()
        });
    }

    pub(super) fn drain_callee(&self) {
        self.callee.drain.advance(Phase::InboundDraining);
    }

    /// From its application.
    pub(super) fn caller_connections(&self) -> usize {
        let active = self.caller.workers.as_ref().unwrap().active();
        usize::try_from(active.outbound_connections).unwrap()
    }

    pub(super) fn callee_connections(&self) -> u32 {
        self.callee
            .workers
            .as_ref()
            .unwrap()
            .active()
            .inbound_connections
    }

    /// Streams at the caller's and at the callee's sidecar.
    pub(super) fn active(&self) -> (u32, u32) {
        let streams = |sidecar: &Sidecar| {
            let active = sidecar.workers.as_ref().unwrap().active();
            active.inbound_streams + active.outbound_streams
        };
        (streams(&self.caller), streams(&self.callee))
    }

    pub(super) fn http1(&self, target: &str, body: &str) -> Response<Bytes> {
        self.http1_with(target, body, |_| {})
    }

    pub(super) fn get(&self, target: &str) -> Response<Bytes> {
        self.http1_with(target, "", |request| {
            *request.method_mut() = http::Method::GET
        })
    }

    pub(super) fn http1_with(
        &self,
        target: &str,
        body: &str,
        edit: impl FnOnce(&mut Request<BoxBody<Bytes, Infallible>>),
    ) -> Response<Bytes> {
        let mut request = post(target, body);
        let host = request.uri().authority().unwrap().as_str().parse().unwrap();
        request.headers_mut().insert(header::HOST, host);
        request
            .headers_mut()
            .insert("x-usher-secret", "1".parse().unwrap());
        edit(&mut request);
        self.send(self.caller.outbound, request)
    }

    /// Around the caller's sidecar.
    pub(super) fn direct(&self, body: &str) -> Response<Bytes> {
        let mut request = post("/", body);
        request
            .headers_mut()
            .insert(header::HOST, "account.bank".parse().unwrap());
        request
            .headers_mut()
            .insert("x-forwarded-client-cert", "URI=me".parse().unwrap());
        self.send(self.callee.inbound, request)
    }

    fn send(
        &self,
        to: SocketAddr,
        request: Request<BoxBody<Bytes, Infallible>>,
    ) -> Response<Bytes> {
        self.runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(to).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let response = tokio::time::timeout(DEADLINE, sender.send_request(request)).await;
            let (head, body) = response.unwrap().unwrap().into_parts();
            Response::from_parts(head, body.collect().await.unwrap().to_bytes())
        })
    }

    /// Bytes on the outbound listener; all that comes back until it closes or pauses.
    pub(super) fn raw(&self, request: &str) -> String {
        talk(self.caller.outbound, request.as_bytes())
    }

    /// Does something while a request is under way.
    pub(super) fn raw_while<T>(&self, request: &str, act: impl FnOnce() -> T) -> T {
        let mut stream = self.connect(Direction::Outbound);
        stream.write_all(request.as_bytes()).unwrap();
        let done = act();
        drop(stream);
        done
    }

    pub(super) fn raw_and_leave(&self, request: &str) {
        let mut stream = TcpStream::connect(self.caller.outbound).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        eventually(|| !self.seen().is_empty());
        drop(stream);
    }

    pub(super) fn tcp(&self, request: &[u8]) -> String {
        talk(self.caller.tcp, request)
    }

    /// In plaintext to the callee's sidecar; also whether it reset the connection.
    pub(super) fn plaintext(&self, request: &[u8]) -> (String, bool) {
        heard(self.callee.inbound, request)
    }

    /// Whether an opaque connection that says this is reset without an answer.
    pub(super) fn is_reset(&self, request: &[u8]) -> bool {
        heard(self.caller.tcp, request) == (String::new(), true)
    }

    /// An opaque connection on which nothing is said.
    pub(super) fn silent_tcp(&self) -> TcpStream {
        TcpStream::connect(self.caller.tcp).unwrap()
    }

    pub(super) fn grpc(
        &self,
        authority: &str,
        body: Bytes,
    ) -> (http::response::Parts, Bytes, Option<HeaderMap>) {
        let request = grpc_request(authority, super::whole(body));
        self.runtime.block_on(async {
            let mut sender = h2c(self.caller.outbound).await;
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let collected = body.collect().await.unwrap();
            let trailers = collected.trailers().cloned();
            (head, collected.to_bytes(), trailers)
        })
    }

    /// Asks, and returns as soon as the answer has begun.
    pub(super) fn grpc_begun(&self, authority: &str) -> Response<Incoming> {
        let request = grpc_request(authority, super::whole(Bytes::new()));
        self.runtime.block_on(async {
            let mut sender = h2c(self.caller.outbound).await;
            let response = tokio::time::timeout(DEADLINE, sender.send_request(request)).await;
            response.unwrap().unwrap()
        })
    }

    /// Does something while so many calls are under way.
    pub(super) fn calls_while(&self, count: usize, act: impl FnOnce()) {
        let _runtime = self.runtime.enter();
        let sender = self.runtime.block_on(h2c(self.caller.outbound));
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..count {
            let request = grpc_request("account.bank", super::whole(Bytes::new()));
            let mut sender = sender.clone();
            calls.spawn(async move { sender.send_request(request).await });
        }
        act();
    }

    /// Asks, and never reads the answer's body; returns when the caller's sidecar has given up.
    pub(super) fn unread(&self, body: Bytes) {
        let request = grpc_request("account.bank", super::whole(body));
        self.runtime.block_on(async {
            let mut sender = h2c(self.caller.outbound).await;
            let response = sender.send_request(request).await.unwrap();
            tokio::task::block_in_place(|| eventually(|| self.active().0 == 0));
            drop(response);
        });
    }

    /// Says one thing after the other, each after the answer to the one before.
    pub(super) fn conversation(&self, said: &[&str]) -> (Vec<String>, Vec<String>) {
        let said: Vec<String> = said.iter().map(|text| (*text).to_owned()).collect();
        let heard = self.runtime.block_on(async {
            let mut sender = h2c(self.caller.outbound).await;
            let (frames, receiver) = tokio::sync::mpsc::channel(1);
            let request = grpc_request("account.bank", streamed(receiver).boxed());
            let mut heard = Vec::new();
            let response = tokio::spawn(sender.send_request(request));
            frames
                .send(Bytes::from(said.first().unwrap().clone()))
                .await
                .unwrap();
            let mut body = response.await.unwrap().unwrap().into_body();
            for next in said.iter().skip(1).map(Some).chain([None]) {
                let frame = body.frame().await.unwrap().unwrap();
                heard.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
                if let Some(next) = next {
                    frames.send(Bytes::from(next.clone())).await.unwrap();
                }
            }
            heard
        });
        (said, heard)
    }
}
