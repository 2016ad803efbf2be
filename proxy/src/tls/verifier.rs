//! Certificate verification: a path to the trust bundle's roots and one SPIFFE ID of our trust domain.
//!
//! Path building and signatures are rustls-webpki's; what is ours is that names are SPIFFE IDs and that host
//! names never count. Which identity may answer for which service is not known here: it is checked after the
//! handshake, where resumed sessions pass too.

use std::{sync::Arc, time::Duration, time::SystemTime};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use usher_config::value::TrustDomain;

use super::{
    known::{KnownPeers, Validity, fingerprint},
    leaf::{Leaf, PeerRefused, spki_sha256, validity},
};

/// Verifies peers of one mesh, in both directions.
#[derive(Debug)]
pub(super) struct MeshVerifier {
    roots: Vec<TrustAnchor<'static>>,
    trust_domain: TrustDomain,
    algorithms: WebPkiSupportedAlgorithms,
    known: KnownPeers,
}

/// What a peer is verified as.
#[derive(Debug, Clone, Copy)]
enum Role {
    Server = 0,
    Client = 1,
}

impl Role {
    const fn usage(self) -> KeyUsage {
        match self {
            Self::Server => KeyUsage::server_auth(),
            Self::Client => KeyUsage::client_auth(),
        }
    }
}

impl MeshVerifier {
    pub(super) fn new(
        trust_domain: TrustDomain,
        roots_der: &[Vec<u8>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, webpki::Error> {
        let anchor = |der: &Vec<u8>| {
            let der = CertificateDer::from(der.as_slice());
            Ok(anchor_from_trusted_cert(&der)?.to_owned())
        };
        let roots = roots_der
            .iter()
            .map(anchor)
            .collect::<Result<_, webpki::Error>>()?;
        Ok(Self {
            roots,
            trust_domain,
            algorithms,
            known: KnownPeers::default(),
        })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        role: Role,
    ) -> Result<(), Error> {
        let fingerprint = fingerprint(role as u8, end_entity, intermediates);
        if self.known.hold(&fingerprint, system_time(now)) {
            return Ok(());
        }
        let (leaf, path_length) = verify_path(
            &self.roots,
            self.algorithms,
            (end_entity, intermediates),
            (now, role.usage()),
        )?;
        if leaf.spiffe_id.trust_domain != self.trust_domain {
            let expected = self.trust_domain.clone();
            return Err(refused(PeerRefused::TrustDomain {
                found: leaf.spiffe_id,
                expected,
            }));
        }
        // Whoever adds certificates that nobody signed is verified every time: there is no end of what can be added.
        if path_length == intermediates.len()
            && let Some(validity) = of_all((leaf.not_before, leaf.not_after), intermediates)
        {
            self.known.remember(fingerprint, validity);
        }
        Ok(())
    }
}

/// When all hold; `None`: there is one that cannot be read.
fn of_all(leaf: Validity, intermediates: &[CertificateDer<'_>]) -> Option<Validity> {
    let mut intermediates = intermediates.iter();
    intermediates.try_fold(leaf, |(from, until), der| {
        let (not_before, not_after) = validity(der).ok()?;
        Some((from.max(not_before), until.min(not_after)))
    })
}

/// Which of `roots_der` a chain of our own leads to; of several the first. `None`: none, or it does not hold now.
pub(super) fn root_of(
    chain_der: &[Vec<u8>],
    roots_der: &[Vec<u8>],
    (algorithms, now): (WebPkiSupportedAlgorithms, UnixTime),
) -> Option<usize> {
    let (leaf, rest) = chain_der.split_first()?;
    let leaf = CertificateDer::from(leaf.as_slice());
    let rest: Vec<CertificateDer<'_>> = rest
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let leads = |der: &Vec<u8>| {
        let der = CertificateDer::from(der.as_slice());
        anchor_from_trusted_cert(&der).is_ok_and(|root| {
            let asked = (now, KeyUsage::client_auth());
            verify_path(&[root], algorithms, (&leaf, &rest), asked).is_ok()
        })
    };
    roots_der.iter().position(leads)
}

fn system_time(now: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs())
}

/// The leaf, and how many of the intermediates lead from it to a root.
fn verify_path(
    roots: &[TrustAnchor<'_>],
    algorithms: WebPkiSupportedAlgorithms,
    (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    (now, usage): (UnixTime, KeyUsage),
) -> Result<(Leaf, usize), Error> {
    let path_length = EndEntityCert::try_from(end_entity)
        .and_then(|certificate| {
            certificate
                .verify_for_usage(algorithms.all, roots, intermediates, now, usage, None, None)
                .map(|path| path.intermediate_certificates().count())
        })
        .map_err(chain_error)?;
    let leaf = Leaf::read(end_entity).map_err(refused)?;
    if leaf.holds_at(system_time(now)) {
        Ok((leaf, path_length))
    } else {
        Err(CertificateError::Expired.into())
    }
}

/// The variants for which TLS has an alert of their own keep it: the peer's log then names the cause.
fn chain_error(error: webpki::Error) -> Error {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired.into(),
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        other => refused(PeerRefused::Chain(other.to_string())),
    }
}

fn refused(reason: PeerRefused) -> Error {
    CertificateError::Other(OtherError(Arc::new(reason))).into()
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken inside the mesh".into())
}

impl ServerCertVerifier for MeshVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now, Role::Server)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for MeshVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Every workload has one certificate: a hint would only make the hello longer.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now, Role::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Verifies the control plane before a first SVID: the chain it sends must contain, and lead to, a root
/// that the token may be shown to. Only then is it sent.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    pub(super) roots: Box<[[u8; 32]]>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates
            .iter()
            .find(|der| spki_sha256(der).is_ok_and(|digest| self.roots.contains(&digest)))
            .ok_or(CertificateError::UnknownIssuer)?;
        let root = anchor_from_trusted_cert(pinned).map_err(chain_error)?;
        let usage = KeyUsage::server_auth();
        verify_path(
            &[root],
            self.algorithms,
            (end_entity, intermediates),
            (now, usage),
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
