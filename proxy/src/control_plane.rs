//! Connections to the control plane: gRPC over mesh TLS, to a server that is the control plane by its SPIFFE ID.
//!
//! It may be several programs on one store, at an address each: any of them will do, so a connection goes to the one that did
//! last, and to the next when that one does not.

mod kept;
mod members;

use std::{
    error::Error,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use tonic::{
    Status,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use usher_config::value::SpiffeId;

use crate::tls::{Material, TlsError};
pub use kept::Line;

use kept::{Kept, Reached};
use members::{CONNECT_TIMEOUT, Members};

/// Where the control plane is, and the connection to it. All clones of one prefer the same address and have the same
/// connection.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    members: Members,
    kept: Kept,
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
    /// The server's root is none of those that a token may be shown to.
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
        Self {
            members: Members::new(address),
            kept: Kept::default(),
        }
    }

    /// How many addresses there are to ask.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Whom this line leads to does not do, or does not answer: the next one leads to another. If somebody else has found
    /// that before, and the line is another one by now, that one stays: it may be the only one that does. So does one that is
    /// still connecting to the only control plane that there is: another one would stand behind it in the same queue.
    pub fn elsewhere(&self, line: &Line) {
        let waits = self.members() == 1 && line.connections() == 0;
        if !waits && self.kept.forget(line) {
            self.members.passed_over(line.turn());
        }
    }

    /// Whether calls go over another connection by now than a stream that was opened on this line when it had had so many: our
    /// credentials are others, or that one was to end. A sidecar is to have one.
    pub fn has_moved_on(&self, line: &Line, connections: usize) -> bool {
        self.kept.has_another_than(line) || line.connections() > connections.max(1)
    }

    /// Whoever was asked last on a connection of its own does not do.
    pub fn passed_over(&self) {
        self.members.passed_over(self.members.turn());
    }

    /// The connection that the stream and all calls share, made when it is needed: each of them on one of its own would be
    /// a handshake every few seconds for every sidecar, which is more than all else that a control plane does.
    ///
    /// It is made anew after [`Self::elsewhere`], and when `material` is another one, so that a call shows the credentials
    /// of the moment. Its server must be `spiffe://<our trust domain>/ns/usher-system/sa/usher`.
    pub fn line(&self, material: Arc<ArcSwap<Material>>) -> Line {
        let current = material.load_full();
        self.kept.for_material(current, || self.lazy(material))
    }

    fn lazy(&self, material: Arc<ArcSwap<Material>>) -> (Channel, Arc<Reached>) {
        let members = self.members.clone();
        let reached = Arc::new(Reached::default());
        reached.turn.store(members.turn(), Ordering::Relaxed);
        let told = Arc::clone(&reached);
        let channel = endpoint().connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (members, material) = (members.clone(), material.load_full());
            let reached = Arc::clone(&told);
            async move {
                let stream = members.connect(&material, &reached).await;
                stream.map(TokioIo::new).map_err(io::Error::other)
            }
        }));
        (channel, reached)
    }

    /// A connected channel without a certificate of ours, to a server whose chain contains one of the pinned roots; and who
    /// the server is. `roots`: SHA-256 of their SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// See [`ControlPlaneError`].
    pub async fn pinned(
        &self,
        roots: &[[u8; 32]],
    ) -> Result<(Channel, SpiffeId), ControlPlaneError> {
        let (stream, server) = self.members.pinned_stream(roots).await?;
        let mut once = Some(TokioIo::new(stream));
        let connector = service_fn(move |_: Uri| {
            let stream = once
                .take()
                .ok_or_else(|| io::Error::other("pinned connection is used up"));
            async move { stream }
        });
        let channel = endpoint().connect_with_connector(connector).await;
        let channel = channel.map_err(|source| ControlPlaneError::Grpc {
            address: self.members.address.clone(),
            source,
        })?;
        Ok((channel, server))
    }

    /// Why a call failed, for people: who does not answer, and what to look at.
    pub fn explain(&self, error: &(dyn Error + 'static)) -> String {
        let address = &self.members.address;
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
        self.members.local_address().await
    }
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
