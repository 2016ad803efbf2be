//! Real identities: a join token, a key, a signing request, and the certificate that comes for it.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use usher_config::wire::v1::{AttestRequest, SvidResponse};
use usher_tests::Mesh;

use super::wire::Connection;
use crate::tls::Anybody;

/// Attests with the token in that file; the answer is what a connection of that identity is made with.
pub(super) async fn attest(mesh: &Mesh, token: &Path) -> Result<Arc<ClientConfig>> {
    let token = std::fs::read_to_string(token)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let request = AttestRequest {
        join_token: token.trim().to_owned(),
        csr_der: CertificateParams::default()
            .serialize_request(&key)?
            .der()
            .to_vec(),
        ..AttestRequest::default()
    };
    let connection = Connection::open(mesh.grpc(), &stranger()?).await?;
    let path = "/usher.v1.Authority/Attest";
    let answer: SvidResponse = connection.call(path, &request).await.context("attest")?;
    let chain = answer.chain_der.into_iter().map(CertificateDer::from);
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = builder()?.with_client_auth_cert(chain.collect(), key.into())?;
    Ok(finished(config))
}

/// Without a certificate of one's own.
fn stranger() -> Result<Arc<ClientConfig>> {
    Ok(finished(builder()?.with_no_client_auth()))
}

/// The control plane is the one that was just started here: it is not verified, which spares the load a signature.
fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(RootCertStore::empty());
    Ok(builder)
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(Anybody));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
