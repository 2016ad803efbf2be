//! Getting an SVID from the control plane: by token the first time, by the SVID before it afterwards.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tonic::{Code, Status, transport::Channel};

use usher_config::{
    value::{Name, SpiffeId},
    wire::v1::{AttestRequest, RenewRequest, authority_client::AuthorityClient},
};

use super::{InvalidJoinToken, Svid, SvidError, Token, svid::Request};
use crate::{
    bootstrap::TokenFiles,
    control_plane::{ControlPlane, ControlPlaneError},
};

/// For one call to the certificate authority, connection included.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no new SVID.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// No `--token-file` was given and no SVID is left.
    #[error("there is none from an earlier run, and no --token-file to get one with")]
    NoToken,
    /// The file cannot be read.
    #[error("token file {} cannot be read", path.display())]
    TokenFile {
        /// `--token-file`.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: std::io::Error,
    },
    /// The file is empty, or its text stops before a line's end: whoever writes it is not done.
    #[error(
        "token file {} is empty or not written to its end: it should hold one line, as `usher token create` prints it",
        path.display()
    )]
    TokenUnfinished {
        /// `--token-file`.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error("token file {}", path.display())]
    Token {
        /// `--token-file`.
        path: PathBuf,
        /// What it should hold.
        #[source]
        source: InvalidJoinToken,
    },
    /// It holds a service account's token, and nothing says whom that may be shown to.
    #[error(
        "token file {} holds a service account's token, and there is no --root-file with the roots of the mesh that it may be \
         shown to: mount the ConfigMap usher-trust, and give the path of its root.pem",
        path.display()
    )]
    NoRoots {
        /// `--token-file`.
        path: PathBuf,
    },
    /// The roots cannot be read.
    #[error("root file {} cannot be read", path.display())]
    RootFile {
        /// `--root-file`.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        source: std::io::Error,
    },
    /// There is none, or something else.
    #[error(
        "root file {} holds no certificate, or one that cannot be read: it should hold the roots of the mesh, PEM, as the \
         ConfigMap usher-trust has them",
        path.display()
    )]
    Roots {
        /// `--root-file`.
        path: PathBuf,
    },
    /// The identity is another account's than the one that was asked for.
    #[error(
        "the token in {} is for {found}, but --service-account says {account}: make one with `usher token create \
         --namespace {namespace} --service-account {account}`",
        path.display()
    )]
    OtherAccount {
        /// `--token-file`.
        path: PathBuf,
        /// What it got.
        found: Box<SpiffeId>,
        /// Of the service.
        namespace: Name,
        /// `--service-account`.
        account: Name,
    },
    /// The server is of a mesh with another root: it has not seen the token.
    #[error(
        "the control plane at {address} is of another mesh than {than}, or correct --control-plane"
    )]
    OtherMesh {
        /// `--control-plane`.
        address: Arc<str>,
        /// Which says of which mesh it should be; and what to do.
        than: &'static str,
    },
    /// The control plane was not reached, or is not one.
    #[error("control plane not reached")]
    Connect(#[source] ControlPlaneError),
    /// The control plane says no, and will say so again.
    #[error("control plane refused our identity: {}", .0.message())]
    Refused(Status),
    /// The call failed for another reason.
    #[error("control plane could not answer: {}", .0.message())]
    Call(Status),
    /// The answer, or a key of ours, is unusable.
    #[error("no usable SVID")]
    Svid(#[source] SvidError),
}

impl AttestError {
    /// Whether trying again with the same token is useless. A file that is not there yet, or not whole, may still come.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoToken
            | Self::NoRoots { .. }
            | Self::Token { .. }
            | Self::OtherAccount { .. }
            | Self::OtherMesh { .. }
            | Self::Refused(_) => true,
            Self::TokenFile { .. }
            | Self::TokenUnfinished { .. }
            | Self::RootFile { .. }
            | Self::Roots { .. }
            | Self::Connect(_)
            | Self::Call(_)
            | Self::Svid(_) => false,
        }
    }

    fn connecting(error: ControlPlaneError, token: &Token) -> Self {
        match error {
            ControlPlaneError::OtherMesh { address } => Self::OtherMesh {
                address,
                than: token.pinned_by(),
            },
            error => Self::Connect(error),
        }
    }

    fn of(status: Status) -> Self {
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => {
                Self::Refused(status)
            }
            _ => Self::Call(status),
        }
    }
}

/// First SVID. The files are read at every attempt, so that they can be renewed while we are waiting; the token is sent only
/// after the server has proved to hold a key under a root that it may be shown to.
///
/// # Errors
/// See [`AttestError`].
pub async fn attest(control_plane: &ControlPlane, files: &TokenFiles) -> Result<Svid, AttestError> {
    let token = Token::read(files)?;
    let request = Request::new().map_err(AttestError::Svid)?;
    let (channel, server) = control_plane
        .pinned(token.roots())
        .await
        .map_err(|error| AttestError::connecting(error, &token))?;
    let csr_der = request.csr_der.clone();
    let call = match token {
        Token::Join(token) => AttestRequest {
            join_token: token.danger_expose().to_owned(),
            csr_der,
            ..AttestRequest::default()
        },
        Token::ServiceAccount { text, .. } => AttestRequest {
            service_account_token: text,
            csr_der,
            ..AttestRequest::default()
        },
    };
    let response = AuthorityClient::new(channel)
        .attest(timed(call))
        .await
        .map_err(AttestError::of)?;
    let svid = request
        .complete(response.into_inner())
        .map_err(AttestError::Svid)?;
    if svid.leaf.spiffe_id.trust_domain != server.trust_domain {
        return Err(AttestError::Svid(SvidError::Mismatch {
            field: "trust_domain",
        }));
    }
    Ok(svid)
}

/// The next SVID, for a fresh key. `channel` is mutual TLS with the current one.
///
/// # Errors
/// See [`AttestError`].
pub async fn renew(channel: Channel) -> Result<Svid, AttestError> {
    let request = Request::new().map_err(AttestError::Svid)?;
    let call = RenewRequest {
        csr_der: request.csr_der.clone(),
    };
    let response = AuthorityClient::new(channel)
        .renew(timed(call))
        .await
        .map_err(AttestError::of)?;
    request
        .complete(response.into_inner())
        .map_err(AttestError::Svid)
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}
