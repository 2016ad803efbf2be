//! Why the authority does not open, or does not sign.

use std::{io, path::PathBuf};

use time::OffsetDateTime;
use usher_config::value::{SpiffeId, TrustDomain};

/// Why the authority cannot open.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file of it cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of it holds something else than it should.
    #[error("{} does not hold a {what}: restore it from a backup, or move the ca directory away to start a \
             new mesh, which every sidecar has to join again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// The data directory is of a mesh with another name.
    #[error(
        "this data directory belongs to the trust domain {found}, the configuration says {asked}: every \
             identity would change; set spec.trustDomain back, or use another --data directory for a new mesh"
    )]
    OtherTrustDomain {
        /// The name in the root certificate.
        found: String,
        /// The name in the Mesh object.
        asked: TrustDomain,
    },
    /// The data directory is of another mesh.
    #[error(
        "the mesh's roots are {}, and {dir} has the key of {own}, which was never one of them: use another --data directory, or \
         another store for a new mesh. If no sidecar ever joined a mesh of this data directory (ca/issued.jsonl and what it was \
         renamed to would say), move {dir} away: this control plane then joins the mesh of the store", known.join(", "),
        dir = path.display()
    )]
    OtherRoot {
        /// Pins of the mesh's.
        known: Vec<String>,
        /// Of the one that is here.
        own: String,
        /// The authority's directory.
        path: PathBuf,
    },
    /// The intermediate in an operator's files.
    #[error("cannot sign with {}: {why}", path.display())]
    Given {
        /// The certificates' file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing to sign with.
    #[error(
        "the key of the root {root} is not in {}, and there is no intermediate under it that holds: bring the key back from a \
         backup, or give an intermediate with --ca-certificate and --ca-key; or move the ca directory away to start a new mesh, \
         which every sidecar has to join again", path.display()
    )]
    NoKey {
        /// The active root.
        root: String,
        /// The authority's directory.
        path: PathBuf,
    },
    /// Signing one of our own certificates failed.
    #[error("cannot make a certificate of the authority")]
    Sign(#[source] rcgen::Error),
}

/// Why an identity was not signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The identity is of another mesh.
    #[error("{id} is not in the trust domain {trust_domain}")]
    OtherTrustDomain {
        /// What was asked for.
        id: SpiffeId,
        /// What this authority signs.
        trust_domain: TrustDomain,
    },
    /// Nobody has signed an intermediate for this control plane yet.
    #[error(
        "this control plane waits for an intermediate from one that has the root's key: see `usher ca status`"
    )]
    NoIssuer,
    /// Nothing signed now could hold.
    #[error(
        "the certificate with which this control plane signs ended on {not_after}: see `usher ca status`"
    )]
    IssuerEnded {
        /// When it ended.
        not_after: OffsetDateTime,
    },
    /// What is signed has to be recorded first.
    #[error(
        "cannot record the certificate in {}, and what is not recorded is not given out ({source}): make room or \
             make the file writable", path.display()
    )]
    NotRecorded {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Encoding or signing failed.
    #[error("cannot sign the SVID")]
    Sign(#[source] rcgen::Error),
}
