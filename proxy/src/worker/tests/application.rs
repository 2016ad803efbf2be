//! The application beside the callee's sidecar: HTTP/1.1 and HTTP/2, doing what a test tells it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};

/// What the application does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// 200: method, target, host and body.
    Echo,
    /// This status.
    Status(StatusCode),
    /// 503, for this reason in a sidecar's words.
    Forged(&'static str),
    /// 503, and to come back in a second.
    Busy,
    /// As [`Answer::Busy`], before the body is there.
    BusyAtOnce,
    /// `grpc-status` 14 in trailers, and that nobody need try again.
    GrpcPushback,
    /// The body and this `grpc-status` in trailers.
    Grpc { code: u8 },
    /// The head of a gRPC stream, and nothing more.
    Silence,
    /// A gRPC stream that has one message and does not end.
    Watch,
    /// The body as it comes.
    Stream,
    /// Nothing.
    Never,
}

/// Requests that came: headers and body.
pub(super) type Seen = Vec<(HeaderMap, String)>;

pub(super) struct Application {
    pub(super) address: SocketAddr,
    pub(super) answer: Arc<ArcSwap<Answer>>,
    pub(super) seen: Arc<ArcSwap<Seen>>,
}

impl Application {
    pub(super) fn start() -> Self {
        let (address, told) = mpsc::channel();
        let answer = Arc::new(ArcSwap::from_pointee(Answer::Echo));
        let seen: Arc<ArcSwap<Seen>> = Arc::default();
        let (answering, seeing) = (answer.clone(), seen.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                address.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (answering, seeing) = (answering.clone(), seeing.clone());
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            respond(request, **answering.load(), seeing.clone())
                        });
                        let server = auto::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        });
        Self {
            address: told.recv().unwrap(),
            answer,
            seen,
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: Answer,
    seen: Arc<ArcSwap<Seen>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let see = |headers: &HeaderMap, body: String| {
        let mut all = seen.load().to_vec();
        all.push((headers.clone(), body));
        seen.store(Arc::new(all));
    };
    let (head, body) = request.into_parts();
    if matches!(answer, Answer::Stream) {
        let body = body.map_err(|_| unreachable!("the caller finishes"));
        return Ok(Response::new(body.boxed()));
    }
    if matches!(answer, Answer::BusyAtOnce) {
        see(&head.headers, String::new());
        // The rest is read: an application that closes on it would break the answer off.
        tokio::spawn(body.collect());
        return Ok(busy(super::whole(Bytes::from_static(b"busy"))));
    }
    if matches!(answer, Answer::Never) {
        see(&head.headers, String::new());
        std::future::pending::<()>().await;
    }
    let body = body.collect().await?.to_bytes();
    see(&head.headers, String::from_utf8_lossy(&body).into_owned());
    let mut response = Response::new(super::whole(body.clone()));
    match answer {
        Answer::Echo => {
            let host = head
                .headers
                .get(header::HOST)
                .map_or("", |host| host.to_str().unwrap());
            let host = head
                .uri
                .authority()
                .map_or(host, http::uri::Authority::as_str);
            let path = head.uri.path_and_query().unwrap();
            let text = String::from_utf8_lossy(&body);
            let echo = format!("{} {path} {host} {text}", head.method);
            response = Response::new(super::whole(echo.trim_end().to_owned().into()));
        }
        Answer::Status(status) => *response.status_mut() = status,
        Answer::Forged(reason) => response = forged(reason),
        Answer::Busy => response = busy(super::whole(body)),
        Answer::GrpcPushback => {
            let trailers = HeaderMap::from_iter([
                ("grpc-status".parse().unwrap(), 14.into()),
                ("grpc-retry-pushback-ms".parse().unwrap(), (-1).into()),
            ]);
            let frames = [Ok(Frame::trailers(trailers))];
            response = grpc(StreamBody::new(futures_util::stream::iter(frames)).boxed());
        }
        Answer::Grpc { code } => {
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().unwrap(), u16::from(code).into())]);
            let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
            response = grpc(StreamBody::new(futures_util::stream::iter(frames)).boxed());
        }
        Answer::Silence => {
            let frames = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            response = grpc(StreamBody::new(frames).boxed());
        }
        Answer::Watch => {
            let first = [Ok(Frame::data(Bytes::from_static(b"first")))];
            let first = futures_util::stream::iter(first);
            let frames = futures_util::StreamExt::chain(first, futures_util::stream::pending());
            response = grpc(StreamBody::new(frames).boxed());
        }
        Answer::Stream | Answer::Never | Answer::BusyAtOnce => {}
    }
    Ok(response)
}

fn grpc(body: BoxBody<Bytes, Infallible>) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(body);
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn forged(reason: &'static str) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(super::whole(Bytes::new()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let reason = http::HeaderValue::from_static(reason);
    response.headers_mut().insert("x-usher-reason", reason);
    response
}

fn busy(body: BoxBody<Bytes, Infallible>) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, 3.into());
    response
}
