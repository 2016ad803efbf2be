//! Certificates that a Gateway names and this process was given no files for; pure.
//!
//! A listener whose certificates are all of that kind goes on with those that it showed before its Gateway was changed:
//! a mistyped name takes nothing from callers, as nowhere else. Only its own namespace's, because another one may have
//! taken back that this Gateway shows its certificate. A process that starts with the mistake has no before: it is not
//! ready and says so.

use std::{collections::BTreeSet, fmt};

use usher_config::{
    model::{Gateway, Listener},
    parse::nearest,
    value::{CertificateName, Name},
};

use crate::tls::edge::Shown;

/// A certificate that a listener wants and this process was not given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lack {
    pub(super) listener: Name,
    pub(super) certificate: CertificateName,
    /// The one with files that is spelled most like it.
    pub(super) near: Option<String>,
    pub(super) instead: Instead,
}

/// What callers of the listener are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Instead {
    /// The others that the Gateway names.
    Others,
    /// What the listener showed before.
    Before(Vec<CertificateName>),
    /// Nothing: it can serve nobody.
    Nothing,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listener,
            certificate,
            near,
            instead: _,
        } = self;
        write!(
            f,
            "listener {listener} of the Gateway: no files for certificate {certificate} \
             (--certificate {certificate}=CERT,KEY)"
        )?;
        match near {
            Some(near) => write!(f, "; there are some for {near}, if that is meant"),
            None => Ok(()),
        }
    }
}

/// What each listener shows if there are no files for what its Gateway names from now on.
pub(super) fn shown(gateway: &Gateway, files: &[&CertificateName], before: &Shown) -> Shown {
    let of_listener = |listener: &Listener| {
        let name = listener.name.clone();
        let mut usable = listener
            .certificates
            .iter()
            .filter(|one| files.contains(one));
        let shows = if usable.clone().next().is_some() {
            usable.by_ref().filter(|one| is_own(one)).cloned().collect()
        } else {
            before.get(&name).cloned()?
        };
        Some((name, shows))
    };
    terminating(gateway).filter_map(of_listener).collect()
}

/// Of the Gateway's own namespace.
fn is_own(certificate: &CertificateName) -> bool {
    !certificate.as_str().contains('/')
}

/// What there are no files for. `shown`: as [`shown`] says.
pub(super) fn lacking(
    gateway: &Gateway,
    files: &[&CertificateName],
    shown: &Shown,
) -> BTreeSet<Lack> {
    let of_listener = |listener: &Listener| {
        let wanted = listener.certificates.iter();
        let lacking: Vec<&CertificateName> = wanted.filter(|name| !files.contains(name)).collect();
        let before = shown.get(&listener.name).filter(|names| !names.is_empty());
        let instead = match before {
            _ if lacking.len() < listener.certificates.len() => Instead::Others,
            Some(before) => Instead::Before(before.clone()),
            None => Instead::Nothing,
        };
        let lack = |certificate: &CertificateName| Lack {
            listener: listener.name.clone(),
            certificate: certificate.clone(),
            near: nearest(certificate.as_str(), files.iter().map(|file| file.as_str())),
            instead: instead.clone(),
        };
        lacking.into_iter().map(lack).collect::<Vec<_>>()
    };
    terminating(gateway).flat_map(of_listener).collect()
}

fn terminating(gateway: &Gateway) -> impl Iterator<Item = &Listener> {
    let listeners = gateway.listeners.iter();
    listeners.filter(|listener| listener.protocol.terminates())
}
