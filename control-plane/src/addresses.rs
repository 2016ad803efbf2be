//! `<data>/addresses.json`: where a running control plane listens; written last at start, removed when it stops.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The doors of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// For sidecars: gRPC over mutual TLS.
    pub grpc: SocketAddr,
    /// For readers: REST and metrics.
    pub http: SocketAddr,
    /// For whoever looks up names, over UDP and TCP; `None`: nobody is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<SocketAddr>,
    /// For API servers that ask about admissions; `None`: they are not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<SocketAddr>,
    /// For the operator: the path of the Unix socket that gives tokens.
    pub operator: PathBuf,
}

impl Addresses {
    /// The file's place in a data directory.
    pub fn file(data: &Path) -> PathBuf {
        data.join("addresses.json")
    }

    /// The addresses of the control plane that runs on a data directory; `None` if none does.
    pub fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::file(data)).ok()?).ok()
    }
}
