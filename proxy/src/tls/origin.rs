//! TLS towards what has no sidecar (BackendTLSPolicy): a server of the outside world, verified as a browser would, or by the
//! names and roots that configuration gives.
//!
//! TLS 1.2 and 1.3. Nothing is sent before the certificate is verified, no early data (0-RTT could be replayed), and what
//! cannot be verified is never called: there is no way back to plaintext. Built anew with empty session stores whenever the
//! policy changes, so nobody resumes a session that was verified by roots which no longer count.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    },
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use webpki::EndEntityCert;

use usher_config::{
    model::{AlternativeName, BackendTls, Origination, Roots},
    value::Hostname,
};

use super::{HANDSHAKE_TIMEOUT, TlsError};

/// Sessions kept for resumption: two tickets for each of 16 connections that are opened at once.
const SESSIONS_MAX: usize = 32;

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// HTTP/1.1, as ALPN says if the server knows any.
    Http1,
    /// HTTP/2, which ALPN has to agree on (RFC 9113 §3.2).
    Http2,
    /// Bytes of any kind; no ALPN.
    Bytes,
}

/// How a port's endpoints are spoken to, ready for handshakes.
#[derive(Debug)]
pub struct Origin {
    name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    bytes: Arc<ClientConfig>,
}

impl Origin {
    /// As configured, or in one line why nothing may be sent.
    ///
    /// # Errors
    /// What configuration itself refuses, a root that cannot be read, a name that cannot travel as SNI.
    pub fn new(tls: &BackendTls) -> Result<Self, Box<str>> {
        match tls {
            BackendTls::Refused(why) => Err(why.as_str().into()),
            BackendTls::Verified(tls) => Self::verified(tls).map_err(|why| why.into()),
        }
    }

    fn verified(tls: &Origination) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(OriginVerifier {
            roots: roots(&tls.roots)?,
            names: Names::of(tls)?,
            algorithms: provider.signature_verification_algorithms,
        });
        let config = |alpn: &[&str]| {
            let mut config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&TLS13, &TLS12])
                .map_err(|error| error.to_string())?
                .dangerous() // rustls' word for any verifier that is not its own
                .with_custom_certificate_verifier(verifier.clone())
                .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
            config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
            Ok::<_, String>(Arc::new(config))
        };
        Ok(Self {
            name: server_name(&tls.hostname)?,
            http1: config(&["http/1.1"])?,
            http2: config(&["h2"])?,
            bytes: config(&[])?,
        })
    }

    /// Opens TLS on a connection.
    ///
    /// # Errors
    /// [`TlsError::Timeout`], [`TlsError::Handshake`], [`TlsError::NotHttp2`]. No application byte has been sent.
    pub async fn open(
        &self,
        stream: TcpStream,
        inside: Inside,
    ) -> Result<TlsStream<TcpStream>, TlsError> {
        let config = match inside {
            Inside::Http1 => &self.http1,
            Inside::Http2 => &self.http2,
            Inside::Bytes => &self.bytes,
        };
        let limit = HANDSHAKE_TIMEOUT;
        let connector = TlsConnector::from(config.clone());
        let stream = timeout(limit, connector.connect(self.name.clone(), stream))
            .await
            .map_err(|_| TlsError::Timeout { limit })?
            .map_err(TlsError::Handshake)?;
        let agreed = stream.get_ref().1.alpn_protocol();
        if inside == Inside::Http2 && agreed != Some(b"h2") {
            return Err(TlsError::NotHttp2);
        }
        Ok(stream)
    }
}

fn server_name(name: &Hostname) -> Result<ServerName<'static>, String> {
    let unusable = |_| format!("{name} is no name for a server");
    ServerName::try_from(name.as_str().to_owned()).map_err(unusable)
}

fn roots(given: &Roots) -> Result<RootCertStore, String> {
    let Roots::Given(certificates) = given else {
        let web = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        return Ok(RootCertStore::from_iter(web));
    };
    let mut store = RootCertStore::empty();
    for (der, number) in certificates.der().iter().zip(1..) {
        let added = store.add(CertificateDer::from(der.as_slice()));
        added.map_err(|error| format!("CA certificate {number} cannot be used: {error}"))?;
    }
    Ok(store)
}

/// The certificate has to have one.
#[derive(Debug)]
struct Names {
    dns: Vec<ServerName<'static>>,
    uris: Vec<String>,
}

impl Names {
    fn of(tls: &Origination) -> Result<Self, String> {
        let (mut dns, mut uris) = (Vec::new(), Vec::new());
        for name in &tls.names {
            match name {
                AlternativeName::Dns(name) => dns.push(server_name(name)?),
                AlternativeName::Uri(uri) => uris.push(uri.clone()),
            }
        }
        if tls.names.is_empty() {
            dns.push(server_name(&tls.hostname)?);
        }
        Ok(Self { dns, uris })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
    ) -> Result<(), Error> {
        let mut refused = CertificateError::NotValidForName.into();
        for name in &self.dns {
            match verify_server_name(parsed, name) {
                Ok(()) => return Ok(()),
                Err(error) => refused = error,
            }
        }
        let certificate = EndEntityCert::try_from(leaf);
        let certificate = certificate.map_err(|_| CertificateError::BadEncoding)?;
        let mut uris = certificate.valid_uri_names();
        match uris.any(|uri| self.uris.iter().any(|wanted| wanted == uri)) {
            true => Ok(()),
            false => Err(refused),
        }
    }
}

#[derive(Debug)]
struct OriginVerifier {
    roots: RootCertStore,
    names: Names,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OriginVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        self.names.verify(end_entity, &parsed)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
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
