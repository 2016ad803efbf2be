//! Handshakes with a time limit, and the identity check that follows each of them.

use std::{fmt::Write as _, io, sync::Arc, time::Duration, time::SystemTime};

use bytes::BytesMut;
use rustls::CommonState;
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{StartHandshake, TlsConnector, client, server};

use usher_config::value::{ServiceName, SpiffeId};

use super::{
    hello::{Hello, hello},
    leaf::{Leaf, PeerRefused},
    material::{Alpn, Material},
};

/// For one handshake, both directions. Ten times a lost packet's retransmission.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same with the control plane: a mesh that comes back at once stands in line for it, and who hangs up stands at its end
/// the next time. As long as the control plane lets anybody wait.
pub const CONTROL_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A verified peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its only name.
    pub spiffe_id: SpiffeId,
    /// sha256 of its leaf, lower-case hex: `Hash` in `x-forwarded-client-cert`.
    pub certificate_sha256: Arc<str>,
    /// When its certificate ends; a connection may outlive it by as long as the certificate lived at most.
    pub not_after: SystemTime,
}

/// A connection from another sidecar.
#[derive(Debug)]
pub struct Accepted {
    /// Ready for application bytes.
    pub stream: server::TlsStream<TcpStream>,
    /// Who is there.
    pub peer: PeerIdentity,
    /// What it will speak.
    pub alpn: Alpn,
    /// Which service port it means: `<port>.<service>.<namespace>`.
    pub sni: Option<String>,
}

/// What a connection that begins with TLS turns out to be.
#[derive(Debug)]
pub enum Greeted {
    /// Another sidecar's.
    Sidecar(Box<Accepted>),
    /// An application's own TLS, which is not ours to end: the connection, and what of it has been read.
    Application(TcpStream, BytesMut),
}

/// A connection to another sidecar.
#[derive(Debug)]
pub struct Connected {
    /// Ready for application bytes.
    pub stream: client::TlsStream<TcpStream>,
    /// Who is there.
    pub peer: PeerIdentity,
}

/// Why there is no TLS connection. No application byte has been sent in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer was too slow.
    #[error("TLS handshake took longer than {limit:?}")]
    Timeout {
        /// [`HANDSHAKE_TIMEOUT`] or [`CONTROL_HANDSHAKE_TIMEOUT`].
        limit: Duration,
    },
    /// The peer spoke no TLS, refused us, or its certificate did not verify.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The handshake went through (or was resumed), but this peer may not be here.
    #[error("TLS peer refused")]
    Refused(#[source] PeerRefused),
    /// A server outside the mesh that speaks TLS, and no HTTP/2 inside.
    #[error("TLS peer does not agree to speak HTTP/2 (ALPN h2)")]
    NotHttp2,
    /// TLS, but not between sidecars: no common application protocol.
    #[error("TLS peer did not ask for a mesh protocol")]
    NotMesh,
    /// The caller wants another service: this address was its instance's once.
    #[error("caller asks for {asked}, which is not here")]
    OtherService {
        /// Its SNI.
        asked: String,
    },
    /// A listener has none that this caller could verify.
    #[error(
        "no certificate to show: none of the listener's was given to this process, or the caller can verify none"
    )]
    NoCertificate,
    /// No listener serves the host that the caller asks for.
    #[error("caller asks for a host that is not served")]
    NotServed,
    /// A name that cannot travel as SNI.
    #[error("{0:?} is not a server name")]
    ServerName(String),
}

impl TlsError {
    /// For `usher_tls_handshakes_total{outcome}`: one word from a fixed set.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Handshake(_) => "failed",
            Self::Refused(_) => "refused",
            Self::NotMesh => "not_mesh",
            Self::NotHttp2 => "not_http2",
            Self::OtherService { .. } => "other_service",
            Self::NoCertificate => "no_certificate",
            Self::NotServed => "not_served",
            Self::ServerName(_) => "server_name",
        }
    }
}

/// Takes a connection whose first byte is a TLS record's (the caller has peeked), meant for the service `own`.
///
/// # Errors
/// See [`TlsError`].
pub async fn accept(
    stream: TcpStream,
    material: &Material,
    own: &ServiceName,
) -> Result<Greeted, TlsError> {
    let greet = async {
        let hello = hello(stream).await?;
        if !hello.is_sidecars() {
            let (stream, seen) = hello.into_parts();
            return Ok(Greeted::Application(stream, seen));
        }
        // In one piece with the rest it would have the size of `h2`'s read buffer, which then gets the memory that this has
        // touched, all of it: 4 KiB more for each idle connection.
        let answered = Box::pin(answer(hello, material, own)).await?;
        let accepted = verified(answered, material)?;
        Ok(Greeted::Sidecar(Box::new(accepted)))
    };
    let limit = HANDSHAKE_TIMEOUT;
    let greeted = timeout(limit, greet).await;
    greeted.unwrap_or(Err(TlsError::Timeout { limit }))
}

fn verified(
    stream: server::TlsStream<TcpStream>,
    material: &Material,
) -> Result<Accepted, TlsError> {
    let connection = stream.get_ref().1;
    let alpn = connection
        .alpn_protocol()
        .and_then(Alpn::between_sidecars)
        .ok_or(TlsError::NotMesh)?;
    let sni = connection.server_name().map(str::to_owned);
    let peer =
        authorise(connection, material, None, SystemTime::now()).map_err(TlsError::Refused)?;
    Ok(Accepted {
        stream,
        peer,
        alpn,
        sni,
    })
}

/// An address that belonged to another service until a moment ago is still dialled by that service's callers. Refused
/// before anything is answered, their requests are provably unprocessed, and they go elsewhere; accepted, they would be
/// served by the wrong service wherever one identity runs both.
async fn answer(
    hello: Hello,
    material: &Material,
    own: &ServiceName,
) -> Result<server::TlsStream<TcpStream>, TlsError> {
    let other = hello.sni().filter(|sni| !means(sni, own));
    if let Some(asked) = other.map(str::to_owned) {
        hello.refuse().await;
        return Err(TlsError::OtherService { asked });
    }
    StartHandshake::from_parts(hello.accepted, hello.stream)
        .into_stream(material.server.clone())
        .await
        .map_err(TlsError::Handshake)
}

/// Whether an SNI `<port>.<service>.<namespace>` means a port of this service.
fn means(sni: &str, own: &ServiceName) -> bool {
    let mut labels = sni.splitn(3, '.').skip(1);
    let mut is = |name: &str| {
        labels
            .next()
            .is_some_and(|label| label.eq_ignore_ascii_case(name))
    };
    is(own.name.as_str()) && is(own.namespace.as_str())
}

/// Turns a TCP connection into one to a peer that is one of `expected`. Nobody is expected: nobody is accepted.
///
/// # Errors
/// See [`TlsError`].
pub async fn connect(
    stream: TcpStream,
    material: &Material,
    expected: &[SpiffeId],
    sni: &str,
    alpn: Alpn,
) -> Result<Connected, TlsError> {
    let name =
        ServerName::try_from(sni.to_owned()).map_err(|_| TlsError::ServerName(sni.to_owned()))?;
    let connector = TlsConnector::from(material.client(alpn).clone());
    let limit = match alpn {
        Alpn::Control => CONTROL_HANDSHAKE_TIMEOUT,
        Alpn::H2 | Alpn::Tcp => HANDSHAKE_TIMEOUT,
    };
    let stream = timeout(limit, connector.connect(name, stream))
        .await
        .map_err(|_| TlsError::Timeout { limit })?
        .map_err(TlsError::Handshake)?;
    let connection = stream.get_ref().1;
    if connection.alpn_protocol() != Some(alpn.name().as_bytes()) {
        return Err(TlsError::NotMesh);
    }
    let peer = authorise(connection, material, Some(expected), SystemTime::now())
        .map_err(TlsError::Refused)?;
    Ok(Connected { stream, peer })
}

/// The check that resumed sessions cannot skip: trust domain, time, and the identities that may be here.
pub(super) fn authorise(
    connection: &CommonState,
    material: &Material,
    expected: Option<&[SpiffeId]>,
    now: SystemTime,
) -> Result<PeerIdentity, PeerRefused> {
    let certificates = connection.peer_certificates().unwrap_or_default();
    let der = certificates.first().ok_or(PeerRefused::NoCertificate)?;
    let leaf = Leaf::read(der)?;
    if !leaf.holds_at(now) {
        return Err(PeerRefused::Expired);
    }
    let ours = &material.leaf.spiffe_id.trust_domain;
    if leaf.spiffe_id.trust_domain != *ours {
        return Err(PeerRefused::TrustDomain {
            found: leaf.spiffe_id,
            expected: ours.clone(),
        });
    }
    if expected.is_some_and(|expected| !expected.contains(&leaf.spiffe_id)) {
        return Err(PeerRefused::NotExpected {
            found: leaf.spiffe_id,
        });
    }
    Ok(PeerIdentity {
        spiffe_id: leaf.spiffe_id,
        certificate_sha256: hex(&Sha256::digest(der)).into(),
        not_after: leaf.not_after,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
