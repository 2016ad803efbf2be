//! Endpoint → byte stream: TCP within a bound, then mutual TLS where the endpoint has a sidecar, or the TLS that its port asks
//! for.
//!
//! Whatever fails here is *provably unprocessed*: no byte of a request has been sent.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use usher_config::value::SpiffeId;

use crate::{
    error::ProxyError,
    tcp::{self, BrokeOff, Copied, Stream},
    tls::{
        self, Alpn, Material, PeerIdentity, TlsError,
        origin::{Inside, Origin},
    },
};

/// Opens a tuned TCP connection.
///
/// # Errors
/// [`ProxyError::ConnectFailed`] and [`ProxyError::ConnectTimeout`].
pub async fn plain(endpoint: SocketAddr, limit: Duration) -> Result<TcpStream, ProxyError> {
    match timeout(limit, TcpStream::connect(endpoint)).await {
        Ok(Ok(stream)) => {
            tcp::tune(&stream);
            Ok(stream)
        }
        Ok(Err(error)) => Err(ProxyError::ConnectFailed {
            endpoint,
            cause: error.kind(),
        }),
        Err(_) => Err(ProxyError::ConnectTimeout { endpoint, limit }),
    }
}

/// What an opaque stream's end means for the caller's record.
pub fn broke_off(end: &BrokeOff, endpoint: SocketAddr, idle: Option<Duration>) -> ProxyError {
    match end {
        BrokeOff::Idle => ProxyError::StreamIdle {
            limit: idle.unwrap_or_default(),
        },
        BrokeOff::Downstream(_) => ProxyError::DownstreamGone,
        BrokeOff::Upstream(_) => ProxyError::UpstreamBrokeOff { endpoint },
    }
}

/// How long another sidecar needs at most to refuse a connection: it dials its application for a second. What lasts longer
/// was taken, and broke off.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// As [`broke_off`], of a stream through another sidecar, which has no other word for a connection that it does not take.
pub fn refused_or_broke_off(
    end: &BrokeOff,
    endpoint: SocketAddr,
    idle: Option<Duration>,
    (carried, lasted): (&Copied, Duration),
) -> ProxyError {
    match end {
        BrokeOff::Upstream(_) if carried.from_upstream == 0 && lasted < REFUSED_WITHIN => {
            ProxyError::NotTaken { endpoint }
        }
        BrokeOff::Upstream(_) | BrokeOff::Downstream(_) | BrokeOff::Idle => {
            broke_off(end, endpoint, idle)
        }
    }
}

/// What a mutual TLS connection needs to know.
#[derive(Debug, Clone)]
pub struct MeshPeer {
    /// Its sidecar's inbound listener.
    pub endpoint: SocketAddr,
    /// Who may be there.
    pub expected: Arc<[SpiffeId]>,
    /// Which port of which service is meant.
    pub sni: Arc<str>,
}

/// Opens a mutual TLS connection and checks who is there; `count` hears the handshake's outcome.
///
/// # Errors
/// As [`plain`], and [`ProxyError::TlsFailed`].
pub async fn mesh(
    peer: &MeshPeer,
    material: &Material,
    alpn: Alpn,
    limit: Duration,
    count: impl FnOnce(&'static str),
) -> Result<(Stream, PeerIdentity), ProxyError> {
    let stream = plain(peer.endpoint, limit).await?;
    match tls::connect(stream, material, &peer.expected, &peer.sni, alpn).await {
        Ok(connected) => {
            count("ok");
            Ok((
                Stream::Connected(Box::new(connected.stream)),
                connected.peer,
            ))
        }
        Err(error) => {
            count(error.outcome());
            let cause = chain(&error).into();
            Err(ProxyError::TlsFailed {
                endpoint: peer.endpoint,
                cause,
            })
        }
    }
}

/// What a TLS connection to somebody without a sidecar needs to know, or why there is to be none.
pub type OriginOf = Arc<Result<Origin, Box<str>>>;

/// Opens a connection, and on it TLS that verifies; `count` hears the handshake's outcome.
///
/// # Errors
/// As [`plain`], [`ProxyError::TlsFailed`] and [`ProxyError::Unverifiable`].
pub async fn origin(
    endpoint: SocketAddr,
    origin: &Result<Origin, Box<str>>,
    inside: Inside,
    limit: Duration,
    count: impl FnOnce(&'static str),
) -> Result<Stream, ProxyError> {
    let origin = origin.as_ref().map_err(|why| ProxyError::Unverifiable {
        endpoint,
        cause: why.as_ref().into(),
    })?;
    let stream = plain(endpoint, limit).await?;
    let opened = origin.open(stream, inside).await;
    count(opened.as_ref().map_or_else(TlsError::outcome, |_| "ok"));
    let stream = opened.map_err(|error| ProxyError::TlsFailed {
        endpoint,
        cause: chain(&error).into(),
    })?;
    Ok(Stream::Connected(Box::new(stream)))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
