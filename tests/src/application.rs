//! An application that a test programs: HTTP/1.1 and HTTP/2 with prior knowledge on one loopback port.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// What a handler answers with.
pub type Reply = Response<BoxBody<Bytes, Infallible>>;

/// A request as the application saw it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Protocol of the connection that brought it.
    pub version: Version,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

type Handler = dyn Fn(&Received, usize) -> Reply + Send + Sync;

/// A server in this process; stopped when dropped.
#[derive(Debug)]
pub struct Application {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Application {
    /// Answers 200 with the request's body, or its path when it has none.
    pub async fn echo() -> Result<Self> {
        Self::answering(|request, _| {
            let body = if request.body.is_empty() {
                request.path.clone().into()
            } else {
                request.body.clone()
            };
            reply(200, body)
        })
        .await
    }

    /// Answers what `handler` says; its second argument counts requests from 0.
    pub async fn answering(
        handler: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await?, handler)
    }

    /// As [`Application::answering`], on a listener that is already there.
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, received.clone(), Arc::new(handler)));
        Ok(Self {
            port,
            received,
            task,
        })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What arrived so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with a whole body.
pub fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    let body = Full::new(body.into()).boxed();
    Response::builder()
        .status(status)
        .body(body)
        .expect("valid response")
}

/// An answer that takes its time, as a slow dependency does.
pub fn reply_after(delay: Duration, status: u16, body: impl Into<Bytes>) -> Reply {
    let mut reply = reply(status, body);
    reply.extensions_mut().insert(Delay(delay));
    reply
}

#[derive(Debug, Clone, Copy)]
struct Delay(Duration);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn serve(listener: TcpListener, received: Arc<Mutex<Vec<Received>>>, handler: Arc<Handler>) {
    // Connections end with the server: a stopped application drops what it was serving.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (received, handler) = (received.clone(), handler.clone());
        let service = hyper::service::service_fn(move |request| {
            let (received, handler) = (received.clone(), handler.clone());
            async move { answer(request, &received, &*handler).await }
        });
        connections.spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    received: &Mutex<Vec<Received>>,
    handler: &Handler,
) -> Result<Reply, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let request = Received {
        method: head.method,
        path,
        version: head.version,
        headers: head.headers,
        body,
    };
    let number = {
        let mut received = lock(received);
        received.push(request.clone());
        received.len() - 1
    };
    let mut reply = handler(&request, number);
    if let Some(Delay(delay)) = reply.extensions_mut().remove() {
        tokio::time::sleep(delay).await;
    }
    Ok(reply)
}
