//! Port 15017: TLS connections of API servers, each served until it ends or we do.
//!
//! Whoever reaches the port may connect, since API servers have no certificate to show by default. So nobody has more than a share of
//! the connections, handshakes have a deadline, and what is read of a request is bounded at the desk.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{desk::Desk, tls::WebhookTls};
use crate::shares::{Asker, Bounds, Place, Shares};

/// An API server has one connection, or one for each request that is under way; there are three of them, as a rule.
const CONNECTIONS: Bounds = Bounds {
    all: 512,
    each: 128,
    reserve: 128,
};

/// Two round trips and a signature, on a bad day.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the head of a request may take, the wait for the next one included: Go closes idle connections after 90 s, and
/// shall be the first to do so, or a question might cross with the end.
const HEAD_TIMEOUT: Duration = Duration::from_secs(100);

/// How often a silent HTTP/2 connection is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Requests of one connection at once, and bytes of a header block.
const STREAMS_MAX: u32 = 128;
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// How long to wait when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Until `stopping`; then what is under way ends.
pub(super) async fn serve(
    listener: TcpListener,
    (tls, desk): (Arc<WebhookTls>, Arc<Desk>),
    mut stopping: watch::Receiver<bool>,
) {
    let shares = Shares::new(CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stopping) => break,
        };
        match accepted {
            Ok((tcp, peer)) => match shares.take(&Asker::at(peer.ip())) {
                Ok(place) => {
                    let acceptor = TlsAcceptor::from(tls.config());
                    let (desk, stopping) = (Arc::clone(&desk), stopping.clone());
                    connections.spawn(connection((tcp, peer, place), acceptor, desk, stopping));
                }
                // Closed at once: API servers come again.
                Err(_) => debug!(%peer, "connection refused: too many are open"),
            },
            Err(error) => {
                warn!(%error, "connection of an api server not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    (tcp, peer, _place): (TcpStream, SocketAddr, Place),
    acceptor: TlsAcceptor,
    desk: Arc<Desk>,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are small.
    let _ = tcp.set_nodelay(true);
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%peer, %error, "no handshake with an api server"),
        Err(_) => return debug!(%peer, "no handshake within {HANDSHAKE_TIMEOUT:?}"),
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let builder = builder();
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped(&mut stopping) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection of an api server ended");
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: the server is, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX);
    builder
}
