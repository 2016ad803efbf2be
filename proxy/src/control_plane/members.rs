//! The control planes of a mesh: one after the other is asked, and the one that does is kept.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use usher_config::value::{SpiffeId, TrustDomain};

use super::{ControlPlaneError, kept::Reached, tls_fault};
use crate::tls::{
    self, Alpn, CONTROL_HANDSHAKE_TIMEOUT, HANDSHAKE_TIMEOUT, Leaf, Material, PeerRefused, TlsError,
};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Sent as SNI; the server is recognised by its SPIFFE ID, never by this.
const SNI: &str = "usher.usher-system";
const NAMESPACE: &str = "usher-system";
const SERVICE_ACCOUNT: &str = "usher";

/// Where it is.
#[derive(Debug, Clone)]
pub(super) struct Members {
    /// All addresses, as written.
    pub(super) address: Arc<str>,
    each: Arc<[Arc<str>]>,
    /// Whose turn it is.
    pub(super) turn: Arc<AtomicUsize>,
}

impl Members {
    pub(super) fn new(address: &str) -> Self {
        let each: Arc<[Arc<str>]> = address.split(',').map(Arc::from).collect();
        let first = fastrand::usize(..each.len().max(1));
        Self {
            address: address.into(),
            each,
            turn: Arc::new(AtomicUsize::new(first)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.each.len()
    }

    /// How long one may take to shake hands.
    fn patience(&self) -> Duration {
        match self.len() {
            1 => CONTROL_HANDSHAKE_TIMEOUT,
            // Another one has a shorter line.
            _ => HANDSHAKE_TIMEOUT,
        }
    }

    /// Whose turn it is now.
    pub(super) fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// The next connection goes to another one than the one whose turn that was. Whoever else has met the same one may
    /// have said so already.
    pub(super) fn passed_over(&self, turn: usize) {
        let next = turn.wrapping_add(1);
        let (met, moved) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.turn.compare_exchange(turn, next, met, moved);
    }

    /// Each of them once, beginning with the one whose turn it is. An attempt that is dropped is one step on for everybody,
    /// also when its caller has given up in the middle of it.
    fn attempts(&self) -> impl Iterator<Item = Attempt<'_>> {
        self.each.iter().filter_map(|_| {
            let turn = self.turn.load(Ordering::Relaxed);
            let index = turn.checked_rem(self.len())?;
            Some(Attempt {
                members: self,
                turn,
                address: self.each.get(index)?.clone(),
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

    pub(super) async fn local_address(&self) -> Result<std::net::IpAddr, ControlPlaneError> {
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

    /// `reached`: whose turn it is, also while it is being tried.
    pub(super) async fn connect(
        &self,
        material: &Material,
        reached: &Reached,
    ) -> Result<TlsStream<TcpStream>, ControlPlaneError> {
        let mut last = None;
        for attempt in self.attempts() {
            reached.turn.store(attempt.turn, Ordering::Relaxed);
            match self.connect_to(&attempt.address, material).await {
                Ok(stream) => {
                    reached.connections.fetch_add(1, Ordering::Relaxed);
                    return Ok(attempt.did(stream));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    pub(super) async fn pinned_stream(
        &self,
        roots: &[[u8; 32]],
    ) -> Result<(TlsStream<TcpStream>, SpiffeId), ControlPlaneError> {
        let mut last = None;
        for attempt in self.attempts() {
            let address = attempt.address.clone();
            let connected = async {
                let stream = dial(&address).await?;
                let stream = handshake_pinned(stream, roots, self.patience()).await;
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

    async fn connect_to(
        &self,
        address: &Arc<str>,
        material: &Material,
    ) -> Result<TlsStream<TcpStream>, ControlPlaneError> {
        let stream = dial(address).await?;
        let tls = |source| ControlPlaneError::Tls {
            address: address.clone(),
            source,
        };
        let expected = [identity(&material.spiffe_id().trust_domain).map_err(tls)?];
        let limit = self.patience();
        let connected = tls::connect(stream, material, &expected, SNI, Alpn::Control);
        let connected = timeout(limit, connected).await;
        let connected = connected.unwrap_or(Err(TlsError::Timeout { limit }));
        Ok(connected.map_err(tls)?.stream)
    }
}

/// One address, tried.
pub(super) struct Attempt<'a> {
    members: &'a Members,
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
            self.members.passed_over(self.turn);
        }
    }
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
    roots: &[[u8; 32]],
    limit: Duration,
) -> Result<(TlsStream<TcpStream>, SpiffeId), TlsError> {
    let config =
        tls::pinned_client(roots).map_err(|error| TlsError::Handshake(io::Error::other(error)))?;
    let name = ServerName::try_from(SNI).map_err(|_| TlsError::ServerName(SNI.into()))?;
    let stream = timeout(limit, TlsConnector::from(config).connect(name, stream))
        .await
        .map_err(|_| TlsError::Timeout { limit })?
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

/// The control plane's own name in this mesh.
fn identity(trust_domain: &TrustDomain) -> Result<SpiffeId, TlsError> {
    let text = format!("spiffe://{trust_domain}/ns/{NAMESPACE}/sa/{SERVICE_ACCOUNT}");
    text.parse().map_err(|_| TlsError::ServerName(text))
}
