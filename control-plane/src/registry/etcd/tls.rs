//! TLS towards etcd, from files: its certificate is checked against one CA, ours is shown if we have one.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::private_files::read_private;

/// Where the parts are, PEM.
#[derive(Debug, Clone, Copy)]
pub struct TlsFiles<'a> {
    /// Who signs etcd's certificates.
    pub ca: &'a Path,
    /// Ours, and its key, which nobody else may read.
    pub certificate: Option<(&'a Path, &'a Path)>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum EtcdTlsError {
    /// A file cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// They do not go together.
    #[error("the certificate and the key for etcd cannot be used together")]
    Certificate(#[source] rustls::Error),
}

/// The client's side. The name or address that is dialled has to be in etcd's certificate.
///
/// # Errors
/// A file cannot be read, or is something else.
pub fn client_tls(files: &TlsFiles<'_>) -> Result<Arc<ClientConfig>, EtcdTlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(files.ca)? {
        roots.add(root).map_err(|error| unusable(files.ca, error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(EtcdTlsError::Certificate)?
        .with_root_certificates(roots);
    let mut config = match files.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let pem = read_private(key).map_err(|error| unusable(key, error))?;
            let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(key, error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(EtcdTlsError::Certificate)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EtcdTlsError> {
    let pem = std::fs::read(path).map_err(|error| unusable(path, error))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = read.map_err(|error| unusable(path, error))?;
    if certificates.is_empty() {
        return Err(unusable(
            path,
            io::Error::other("there is no certificate in it"),
        ));
    }
    Ok(certificates)
}

fn unusable(
    path: &Path,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> EtcdTlsError {
    EtcdTlsError::File {
        path: path.to_owned(),
        source: io::Error::other(error),
    }
}
