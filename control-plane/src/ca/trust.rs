//! What control planes of one mesh share about its authority: the roots, and who signs with an intermediate of which. Only
//! public things: no private key is ever in a shared store.

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::roots::{RootSet, base64_bytes};
use crate::private_files::{read_private, write_private};

/// All that is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shared {
    /// `None`: a mesh that is only beginning.
    pub roots: Option<RootSet>,
    /// What each control plane says, by its id.
    #[serde(default)]
    pub signers: BTreeMap<String, Signer>,
    /// Intermediates for those who asked, by their id.
    #[serde(default)]
    pub grants: BTreeMap<String, Grant>,
}

/// What a control plane says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signer {
    /// For people: its host's name.
    pub name: String,
    /// Its intermediate; `None`: it has none yet.
    #[serde(default)]
    pub issuer: Option<IssuerFacts>,
    /// Pins of the roots whose key it has.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Pins of the roots of the given files that it signs with, or will.
    #[serde(default)]
    pub given: Vec<String>,
    /// Another intermediate that it needs.
    #[serde(default)]
    pub wants: Option<Wanted>,
    /// The version of the roots that it knows.
    pub version: u64,
    /// What its sidecars have.
    #[serde(default)]
    pub census: Census,
    /// When it stopped signing under other roots, by their pins.
    #[serde(default)]
    pub left: BTreeMap<String, Time>,
    /// When it said so, by its own clock: that it changes is a sign of life.
    #[serde(with = "time::serde::rfc3339")]
    pub said_at: OffsetDateTime,
}

/// An intermediate in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerFacts {
    /// The pin of the root that it leads to.
    pub root: String,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// It came from files that an operator, or a tool of theirs, keeps fresh.
    #[serde(default)]
    pub given: bool,
}

/// An intermediate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Of this root, by its pin.
    pub root: String,
    /// PKCS#10, DER: only its key counts.
    #[serde(with = "base64_bytes")]
    pub csr: Vec<u8>,
}

/// An intermediate for somebody who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// DER.
    #[serde(with = "base64_bytes")]
    pub certificate: Vec<u8>,
}

/// What the sidecars of one control plane have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Census {
    /// How many have an SVID under which root, by its pin.
    #[serde(default)]
    pub by_root: BTreeMap<String, usize>,
    /// How many do not have the newest roots yet.
    #[serde(default)]
    pub behind: usize,
}

/// As text, RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(#[serde(with = "time::serde::rfc3339")] pub OffsetDateTime);

/// The store does not answer, or holds what is not ours.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the store of the mesh's roots")]
pub struct TrustError(#[from] pub Box<dyn Error + Send + Sync>);

impl From<io::Error> for TrustError {
    fn from(error: io::Error) -> Self {
        Self(Box::new(error))
    }
}

/// What a call of a [`TrustStore`] gives.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, TrustError>>;

/// Where it is shared.
pub trait TrustStore: Send + Sync {
    /// All of it.
    fn read(&self) -> Answer<'_, Shared>;

    /// Puts a version of the roots in the place of those before it; `false`: somebody else was faster.
    fn write_roots(&self, next: RootSet) -> Answer<'_, bool>;

    /// What the control plane `id` says of itself now.
    fn say(&self, id: String, signer: Signer) -> Answer<'_, ()>;

    /// An intermediate for the control plane `id`.
    fn grant(&self, id: String, grant: Grant) -> Answer<'_, ()>;

    /// A control plane that is gone for good.
    fn forget(&self, id: String) -> Answer<'_, ()>;
}

/// A file, for a control plane that is alone.
#[derive(Debug)]
pub struct FileTrust {
    path: PathBuf,
    shared: Mutex<Shared>,
}

impl FileTrust {
    /// `trust.json` in the authority's directory.
    ///
    /// # Errors
    /// It cannot be read, or is not ours.
    pub fn open(directory: &Path) -> Result<Self, io::Error> {
        let path = directory.join("trust.json");
        let shared = match read_private(&path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Shared::default(),
            Err(error) => return Err(error),
        };
        let shared = Mutex::new(shared);
        Ok(Self { path, shared })
    }

    /// What it holds.
    pub fn shared(&self) -> Shared {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.clone()
    }

    /// Puts roots in the place of those before them.
    ///
    /// # Errors
    /// The file cannot be written: all stays as it was.
    pub fn replace_roots(&self, next: RootSet) -> io::Result<bool> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = shared.roots.as_ref().map_or(0, |roots| roots.version);
        if seen >= next.version {
            return Ok(shared.roots.as_ref() == Some(&next));
        }
        let mut changed = shared.clone();
        changed.roots = Some(next);
        write_private(&self.path, &serde_json::to_vec_pretty(&changed)?)?;
        *shared = changed;
        Ok(true)
    }
}

impl TrustStore for FileTrust {
    fn read(&self) -> Answer<'_, Shared> {
        Box::pin(async { Ok(self.shared()) })
    }

    fn write_roots(&self, next: RootSet) -> Answer<'_, bool> {
        Box::pin(async { Ok(self.replace_roots(next)?) })
    }

    /// In memory only: nobody else reads it.
    fn say(&self, id: String, signer: Signer) -> Answer<'_, ()> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.signers = BTreeMap::from([(id, signer)]);
        Box::pin(async { Ok(()) })
    }

    /// Nobody else asks.
    fn grant(&self, _: String, _: Grant) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// There is nobody else.
    fn forget(&self, _: String) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
