//! Why the control plane does not start.

use std::{io, path::PathBuf};

use usher_config::value::TrustDomain;

use crate::{
    ca::{authority::AuthorityError, roots::short, steward::StewardError, trust::TrustError},
    keys::RootsError,
    listener::tls::TlsError,
    registry::StoreError,
    state::OpenError,
};

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    Data {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration or the store cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The Mesh object, which names the trust domain, is broken, and none was ever accepted.
    #[error("the Mesh object has mistakes, and everything is named by its trust domain:\n  {}", mistakes.join("\n  "))]
    Mesh {
        /// Each with its place.
        mistakes: Vec<String>,
    },
    /// No root.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store that several control planes share.
    #[error("cannot use the store")]
    Store(#[from] StoreError),
    /// No root to sign with, where the mesh has one.
    #[error(
        "the mesh in this store was begun by an older version, with a root whose key's SHA-256 is {pin}, and {} does not have \
         it: start the control plane that has it first", data.display()
    )]
    NoRoot {
        /// What the root's public key hashes to.
        pin: String,
        /// The data directory.
        data: PathBuf,
    },
    /// Certificates carry another one.
    #[error(
        "--trust-domain {asked}: the mesh in this store is {found} for good; leave the flag out, or use another store"
    )]
    OtherTrustDomain {
        /// What the store says.
        found: TrustDomain,
        /// What was asked for.
        asked: TrustDomain,
    },
    /// A root that is not the mesh's.
    #[error(
        "the mesh in this store has a root with the key {stored}, the one in the data directory has {own}: use another \
         --data directory, or another --etcd-prefix for a new mesh"
    )]
    OtherRoot {
        /// SHA-256 of the public key of the mesh's root.
        stored: String,
        /// Of the one that is here.
        own: String,
    },
    /// The roots that several control planes share.
    #[error("cannot use the mesh's roots")]
    Trust(#[from] TrustError),
    /// The steward's first turn failed.
    #[error(transparent)]
    Steward(#[from] StewardError),
    /// Nobody has signed an intermediate for us.
    #[error(
        "no control plane that has the key of the root {} has signed an intermediate for this one within 30 s: start the one \
         that made the root (or bring its root key into `ca/` of this one's data directory), or give an intermediate with \
         --ca-certificate and --ca-key",
        short(root)
    )]
    NoIssuer {
        /// The root's pin.
        root: String,
    },
    /// A backup without the mesh's keys was restored.
    #[error(
        "the data directory {dir} was restored from a backup without the mesh's keys: put ca/ of the control plane that was \
         backed up into it. Without them, delete {dir}/keys-missing: a new root is made, and every sidecar has to join again",
        dir = data.display()
    )]
    KeysMissing {
        /// The data directory.
        data: PathBuf,
    },
    /// A backup without the mesh's keys was restored, and a copy of them put beside it that is older.
    #[error(
        "the root {wanted} signed in this mesh when its backup was made, and by {dir}/ca it never did ({found} signs): that is an \
         older copy, or another mesh's. Put one in its place that was made when {wanted} signed, or later. If there is none, \
         delete {dir}/keys-missing to go on with this one: sidecars that know only {wanted} have to join again",
        dir = data.display()
    )]
    OldKeys {
        /// The data directory.
        data: PathBuf,
        /// The root that signed.
        wanted: String,
        /// The one that would sign.
        found: String,
    },
    /// The same, and the root that signed is in the copy, but roots were added, activated or retired since.
    #[error(
        "the mesh's roots had version {wanted} when its backup was made, and those in {dir}/ca have {found}: that is an older \
         copy, which may trust a root that was retired since because its key was stolen. Put one in its place that was made \
         together with the backup, or later. If there is none, delete {dir}/keys-missing to go on with this one, and see \
         `usher ca status` for roots to retire again",
        dir = data.display()
    )]
    OldRoots {
        /// The data directory.
        data: PathBuf,
        /// Their version in the mesh.
        wanted: u64,
        /// Their version by the copy.
        found: u64,
    },
    /// No tokens.
    #[error("cannot open the token file {}", path.display())]
    Tokens {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: redb::Error,
    },
    /// The roots for fetching keys.
    #[error("--jwks-ca")]
    Roots(#[from] RootsError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// An address, or a socket's path.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The webhook.
    #[cfg(feature = "kubernetes")]
    #[error(transparent)]
    Webhook(#[from] crate::webhook::WebhookError),
    /// The metrics contradict each other.
    #[error("cannot set metrics up")]
    Metrics(#[from] prometheus::Error),
}
