//! Certificates that a Gateway names and this process was given no files for; pure.
//!
//! A listener whose certificates are all of that kind goes on with what it showed before where its Gateway mistyped that
//! ([`stays`]), and refuses its callers' handshakes otherwise. A process that starts with the mistake has no before: it is
//! not ready and says so.

use std::{collections::BTreeSet, fmt};

use usher_config::{
    model::{Gateway, Listener},
    parse::nearest,
    value::{CertificateName, Name},
};

use crate::tls::shown::{Place, Shown, is_own, stays};

/// A certificate that a listener wants and this process was not given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lack {
    pub(super) listener: Name,
    /// `None`: it wants none, as those that it names are another namespace's, which has not allowed it.
    pub(super) certificate: Option<CertificateName>,
    /// The one with files that is spelled most like it.
    pub(super) near: Option<String>,
    pub(super) instead: Instead,
}

/// What callers of the listener are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Instead {
    /// The others that the Gateway names.
    Others,
    /// What the listener showed before, and probably means.
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
        let Some(certificate) = certificate else {
            return write!(
                f,
                "listener {listener} of the Gateway names no certificate that it may show"
            );
        };
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

impl Lack {
    /// Whether this process was started without something that it serves with. What the Gateway must not show, no other
    /// start would have.
    pub(super) fn is_of_start(&self) -> bool {
        self.certificate.is_some() && self.instead == Instead::Nothing
    }
}

/// What each listener shows from now on, of its own namespace's.
pub(super) fn shown(gateway: &Gateway, files: &[&CertificateName], before: &Shown) -> Shown {
    let of_listener = |listener: &Listener| {
        let place = Place::from(listener);
        let wanted = &listener.certificates;
        let usable = wanted.iter().filter(|one| files.contains(one));
        let shows: Vec<CertificateName> = if usable.clone().next().is_some() {
            usable.filter(|one| is_own(one)).cloned().collect()
        } else {
            stays(wanted, before.get(&place)?, files.iter().copied())
        };
        (!shows.is_empty()).then_some((place, shows))
    };
    terminating(gateway).filter_map(of_listener).collect()
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
        let instead = match shown.get(&Place::from(listener)) {
            _ if lacking.len() < listener.certificates.len() => Instead::Others,
            Some(before) => Instead::Before(before.clone()),
            None => Instead::Nothing,
        };
        let lack = |certificate: Option<&CertificateName>| Lack {
            listener: listener.name.clone(),
            certificate: certificate.cloned(),
            near: certificate
                .and_then(|name| nearest(name.as_str(), files.iter().map(|file| file.as_str()))),
            instead: instead.clone(),
        };
        let none = listener.certificates.is_empty().then(|| lack(None));
        let lacking = lacking.into_iter().map(Some).map(lack);
        none.into_iter().chain(lacking).collect::<Vec<_>>()
    };
    terminating(gateway).flat_map(of_listener).collect()
}

fn terminating(gateway: &Gateway) -> impl Iterator<Item = &Listener> {
    let listeners = gateway.listeners.iter();
    listeners.filter(|listener| listener.protocol.terminates())
}
