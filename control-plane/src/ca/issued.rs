//! Every certificate that was signed: one JSON line each, in `<data>/ca/issued.jsonl` (mode 0600).
//!
//! The line is written before the certificate leaves, and what cannot be recorded is not signed. A crash of the process
//! loses none; lines are not synced one by one, so one of the machine may lose the last. The file is opened for each line:
//! rename it whenever you like, the next line makes a new one. About 400 bytes for each; a sidecar takes two a day.

use std::{
    fs, io,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use time::OffsetDateTime;

/// Why somebody gets a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
pub enum Grounds<'a> {
    /// A join token, by its public part.
    Token {
        /// `<id>` of `usher1.<id>.…`.
        token: &'a str,
        /// From where it was presented; `None`: the connection is gone.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    /// A token of its service account, which the API server of its cluster found good.
    ServiceAccount {
        /// The pod that the token is bound to, where that was said.
        #[serde(skip_serializing_if = "Option::is_none")]
        pod: Option<&'a str>,
        /// From where it was presented; `None`: the connection is gone.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    /// An unexpired SVID of the same identity.
    Svid {
        /// From where it was presented; `None`: the connection is gone.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    /// The control plane's own.
    ControlPlane,
    /// The control plane's own, for the API server that asks about admissions.
    Webhook,
    /// An intermediate, for a control plane to sign with.
    Intermediate {
        /// Which control plane, by its id.
        control_plane: &'a str,
    },
    /// A new root.
    Root,
    /// A root's key under an older root.
    Cross,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Issued<'a> {
    /// When, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// Of the certificate, hexadecimal.
    pub serial: String,
    /// Whom it names; empty: a server, by the names below.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub spiffe_id: &'a str,
    /// The names of a server.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub dns_names: &'a [String],
    /// From when it holds.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Until when it holds.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// SHA-256 of the public key (SPKI, DER), hexadecimal.
    pub key_sha256: String,
    /// The same of the root that it leads to.
    pub root: &'a str,
    #[serde(flatten)]
    pub grounds: Grounds<'a>,
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct IssuedLog {
    path: PathBuf,
}

impl IssuedLog {
    /// The log of an authority's directory.
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            path: directory.join("issued.jsonl"),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line, in one write: lines of several threads do not mix.
    pub(super) fn record(&self, issued: &Issued<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(issued)?;
        line.push(b'\n');
        self.open()?.write_all(&line)
    }

    /// For one more line.
    pub(super) fn open(&self) -> io::Result<fs::File> {
        let mut options = fs::File::options();
        let options = options.append(true).create(true).mode(0o600);
        options.open(&self.path)
    }
}

#[cfg(test)]
mod tests;
