//! Connections to the control plane: gRPC over mesh TLS, to a server that is the control plane by its SPIFFE ID.
//!
//! It may be several programs on one store, at an address each: any of them will do, so a connection goes to the one that did
//! last, and to the next when that one does not.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Status,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use usher_config::value::{SpiffeId, TrustDomain};

use crate::tls::{self, Alpn, HANDSHAKE_TIMEOUT, Leaf, Material, PeerRefused, TlsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Sent as SNI; the server is recognised by its SPIFFE ID, never by this.
const SNI: &str = "usher.usher-system";
const NAMESPACE: &str = "usher-system";
const SERVICE_ACCOUNT: &str = "usher";

/// Where the control plane is. All clones of one prefer the same address.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// All addresses, as written.
    address: Arc<str>,
    members: Arc<[Arc<str>]>,
    /// Whose turn it is.
    turn: Arc<AtomicUsize>,
}

/// Why there is no connection to the control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// Name not resolved, refused, unreachable, or too slow.
    #[error("no connection to {address}")]
    Connect {
        /// `--control-plane`.
        address: Arc<str>,
        /// The operating system's words.
        #[source]
        source: io::Error,
    },
    /// The server is not this mesh's control plane.
    #[error("{address} is not the control plane of this mesh")]
    Tls {
        /// `--control-plane`.
        address: Arc<str>,
        /// What was wrong with it.
        #[source]
        source: TlsError,
    },
    /// The server's root is not the one that the join token pins.
    #[error("{address} is the control plane of another mesh")]
    OtherMesh {
        /// `--control-plane`.
        address: Arc<str>,
    },
    /// TLS stood, HTTP/2 did not.
    #[error("{address} does not speak gRPC")]
    Grpc {
        /// `--control-plane`.
        address: Arc<str>,
        /// What went wrong.
        #[source]
        source: tonic::transport::Error,
    },
}

impl ControlPlane {
    /// `address` is `host:port`, or several with commas between; hosts are looked up at each connection. Which of them comes
    /// first is chance: all sidecars of a mesh are told of them in the same order.
    pub fn new(address: &str) -> Self {
        let members: Arc<[Arc<str>]> = address.split(',').map(Arc::from).collect();
        let first = fastrand::usize(..members.len().max(1));
        Self {
            address: address.into(),
            members,
            turn: Arc::new(AtomicUsize::new(first)),
        }
    }

    /// The one that was asked last could not do it, though it answered: the next connection goes to another one.
    pub fn elsewhere(&self) {
        self.passed_over(self.turn.load(Ordering::Relaxed));
    }

    /// Whoever else has met the same one may have said so already.
    fn passed_over(&self, turn: usize) {
        let next = turn.wrapping_add(1);
        let (met, moved) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.turn.compare_exchange(turn, next, met, moved);
    }

    /// Each of them once, beginning with the one whose turn it is. An attempt that is dropped is one step on for everybody,
    /// also when its caller has given up in the middle of it.
    fn attempts(&self) -> impl Iterator<Item = Attempt<'_>> {
        self.members.iter().filter_map(|_| {
            let turn = self.turn.load(Ordering::Relaxed);
            let index = turn.checked_rem(self.members.len())?;
            Some(Attempt {
                control_plane: self,
                turn,
                address: self.members.get(index)?.clone(),
                has_done: false,
            })
        })
    }

    fn nobody(&self) -> ControlPlaneError {
        ControlPlaneError::Connect {
            address: self.address.clone(),
            source: io::ErrorKind::NotFound.into(),
        }
    }

    /// A lazy channel: each of its connections uses the material of that moment, and its server must be
    /// `spiffe://<our trust domain>/ns/usher-system/sa/usher`.
    pub fn channel(&self, material: Arc<ArcSwap<Material>>) -> Channel {
        let this = self.clone();
        endpoint().connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (this, material) = (this.clone(), material.load_full());
            async move {
                this.connect(&material)
                    .await
                    .map(TokioIo::new)
                    .map_err(io::Error::other)
            }
        }))
    }

    /// A connected channel without a certificate of ours, to a server whose chain contains the pinned root; and who
    /// the server is.
    ///
    /// # Errors
    /// See [`ControlPlaneError`].
    pub async fn pinned(
        &self,
        root_spki_sha256: [u8; 32],
    ) -> Result<(Channel, SpiffeId), ControlPlaneError> {
        let (stream, server) = self.pinned_stream(root_spki_sha256).await?;
        let mut once = Some(TokioIo::new(stream));
        let connector = service_fn(move |_: Uri| {
            let stream = once
                .take()
                .ok_or_else(|| io::Error::other("pinned connection is used up"));
            async move { stream }
        });
        let channel = endpoint().connect_with_connector(connector).await;
        let channel = channel.map_err(|source| ControlPlaneError::Grpc {
            address: self.address.clone(),
            source,
        })?;
        Ok((channel, server))
    }

    /// Why a call failed, for people: who does not answer, and what to look at.
    pub fn explain(&self, error: &(dyn Error + 'static)) -> String {
        let address = &self.address;
        let Some(known) = find(error) else {
            let said = error.downcast_ref::<Status>().map(Status::message);
            return match said {
                Some(said) => format!("control plane {address}: {said}"),
                None => format!("control plane {address}: {error}"),
            };
        };
        match known {
            ControlPlaneError::Connect { source, address } => {
                let cause = match source.kind() {
                    io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    io::ErrorKind::TimedOut => format!("no connection within {CONNECT_TIMEOUT:?}"),
                    _ => source.to_string(),
                };
                format!(
                    "control plane {address} does not answer ({cause}); is `usher serve` running there?"
                )
            }
            ControlPlaneError::Tls { source, address } => match tls_fault(source) {
                Some(rustls::Error::InvalidMessage(_)) => format!(
                    "{address} does not speak TLS: it must be the address for sidecars (`usher serve --listen`, port \
                     15012 by default), not the REST address (--http)"
                ),
                Some(fault) => format!("{address} is not the control plane of this mesh ({fault})"),
                None => format!("{address} is not the control plane of this mesh ({source})"),
            },
            ControlPlaneError::OtherMesh { .. } | ControlPlaneError::Grpc { .. } => {
                known.to_string()
            }
        }
    }

    /// The local address from which the control plane is reached: what others can reach us at, most likely.
    ///
    /// # Errors
    /// [`ControlPlaneError::Connect`].
    pub async fn local_address(&self) -> Result<std::net::IpAddr, ControlPlaneError> {
        let mut last = None;
        for attempt in self.attempts() {
            let address = attempt.address.clone();
            let local = async {
                let stream = dial(&address).await?;
                let local = stream.local_addr();
                local.map_err(|source| ControlPlaneError::Connect { address, source })
            };
            match local.await {
                Ok(local) => return Ok(attempt.did(local.ip())),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    async fn connect(
        &self,
        material: &Material,
    ) -> Result<TlsStream<TcpStream>, ControlPlaneError> {
        let mut last = None;
        for attempt in self.attempts() {
            match connect(&attempt.address, material).await {
                Ok(stream) => return Ok(attempt.did(stream)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    async fn pinned_stream(
        &self,
        root_spki_sha256: [u8; 32],
    ) -> Result<(TlsStream<TcpStream>, SpiffeId), ControlPlaneError> {
        let mut last = None;
        for attempt in self.attempts() {
            let address = attempt.address.clone();
            let connected = async {
                let stream = dial(&address).await?;
                let stream = handshake_pinned(stream, root_spki_sha256).await;
                stream.map_err(|source| match tls_fault(&source) {
                    Some(rustls::Error::InvalidCertificate(
                        rustls::CertificateError::UnknownIssuer,
                    )) => ControlPlaneError::OtherMesh { address },
                    _ => ControlPlaneError::Tls { address, source },
                })
            };
            match connected.await {
                Ok(connected) => return Ok(attempt.did(connected)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }
}

/// One address, tried.
struct Attempt<'a> {
    control_plane: &'a ControlPlane,
    turn: usize,
    address: Arc<str>,
    has_done: bool,
}

impl Attempt<'_> {
    /// This one does: the next connection goes there too.
    fn did<T>(mut self, done: T) -> T {
        self.has_done = true;
        done
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.has_done {
            self.control_plane.passed_over(self.turn);
        }
    }
}

async fn connect(
    address: &Arc<str>,
    material: &Material,
) -> Result<TlsStream<TcpStream>, ControlPlaneError> {
    let stream = dial(address).await?;
    let tls = |source| ControlPlaneError::Tls {
        address: address.clone(),
        source,
    };
    let expected = identity(&material.spiffe_id().trust_domain).map_err(tls)?;
    let connected = tls::connect(stream, material, &[expected], SNI, Alpn::Control).await;
    Ok(connected.map_err(tls)?.stream)
}

async fn dial(address: &Arc<str>) -> Result<TcpStream, ControlPlaneError> {
    let dial = async {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(&**address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    dial.await.map_err(|source| ControlPlaneError::Connect {
        address: address.clone(),
        source,
    })
}

async fn handshake_pinned(
    stream: TcpStream,
    root_spki_sha256: [u8; 32],
) -> Result<(TlsStream<TcpStream>, SpiffeId), TlsError> {
    let config = tls::pinned_client(root_spki_sha256)
        .map_err(|error| TlsError::Handshake(io::Error::other(error)))?;
    let name = ServerName::try_from(SNI).map_err(|_| TlsError::ServerName(SNI.into()))?;
    let stream = timeout(
        HANDSHAKE_TIMEOUT,
        TlsConnector::from(config).connect(name, stream),
    )
    .await
    .map_err(|_| TlsError::Timeout {
        limit: HANDSHAKE_TIMEOUT,
    })?
    .map_err(TlsError::Handshake)?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let der = certificates
        .first()
        .ok_or(TlsError::Refused(PeerRefused::NoCertificate))?;
    let server = Leaf::read(der).map_err(TlsError::Refused)?.spiffe_id;
    if server != identity(&server.trust_domain)? {
        return Err(TlsError::Refused(PeerRefused::NotExpected {
            found: server,
        }));
    }
    Ok((stream, server))
}

/// What rustls said, where it was rustls.
fn tls_fault(error: &TlsError) -> Option<&rustls::Error> {
    let TlsError::Handshake(source) = error else {
        return None;
    };
    source.get_ref()?.downcast_ref()
}

/// Our own error inside those of tonic, hyper and `io`, each of which wraps the next.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ControlPlaneError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of an `io::Error` is that of the error in it, not the error itself.
        let inner = error.downcast_ref().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// The control plane's own name in this mesh.
fn identity(trust_domain: &TrustDomain) -> Result<SpiffeId, TlsError> {
    let text = format!("spiffe://{trust_domain}/ns/{NAMESPACE}/sa/{SERVICE_ACCOUNT}");
    text.parse().map_err(|_| TlsError::ServerName(text))
}

/// The authority is what gRPC needs to see; keep-alive notices a control plane that went away without a word.
fn endpoint() -> Endpoint {
    Endpoint::from_static("http://usher.usher-system")
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests;
