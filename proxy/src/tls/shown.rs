//! What a gateway's listeners show if their Gateway names only certificates that this process was given no files for; pure.
//!
//! A mistyped name takes nothing from callers, as nowhere else: the listener goes on with the certificate that is
//! spelled most like it, if it showed that one before. Any other name is meant as it is written: who replaces a certificate
//! or takes it away wants it shown no more, and be it that nothing is left to show.

use std::collections::HashMap;

use usher_config::{
    model::Listener,
    parse::nearest,
    value::{CertificateName, Hostname, Name, Port},
};

/// A listener as its callers know it: with another name, port or host it is another one, which has shown nothing yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Unique in the gateway.
    pub name: Name,
    /// Of the gateway.
    pub port: Port,
    /// `None`: all.
    pub hostname: Option<Hostname>,
}

impl From<&Listener> for Place {
    fn from(listener: &Listener) -> Self {
        Self {
            name: listener.name.clone(),
            port: listener.port,
            hostname: listener.hostname.clone(),
        }
    }
}

/// What each listener showed last, of its own namespace's.
pub type Shown = HashMap<Place, Vec<CertificateName>>;

/// Of the Gateway's own namespace. Another one may have taken back that this Gateway shows its certificate.
pub fn is_own(certificate: &CertificateName) -> bool {
    !certificate.as_str().contains('/')
}

/// What a listener goes on with that names `wanted`, of which there are no files, and showed `before`; `files`: all that
/// there are.
pub fn stays<'a>(
    wanted: &[CertificateName],
    before: &'a [CertificateName],
    files: impl Iterator<Item = &'a CertificateName> + Clone,
) -> Vec<CertificateName> {
    let files = files.map(CertificateName::as_str);
    let meant = |wanted: &CertificateName| {
        // Of names that are equally near, one that was shown.
        let known = before.iter().map(CertificateName::as_str);
        nearest(wanted.as_str(), known.chain(files.clone()))
    };
    let own = wanted.iter().filter(|one| is_own(one));
    let meant: Vec<String> = own.filter_map(meant).collect();
    let is_meant = |one: &&CertificateName| meant.iter().any(|name| name == one.as_str());
    before.iter().filter(is_meant).cloned().collect()
}
