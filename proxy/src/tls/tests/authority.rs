//! A certificate authority for tests.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use usher_config::model::TrustBundle;

use super::Material;

/// A root that signs whatever a test wants.
pub(crate) struct TestAuthority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) root: Vec<u8>,
}

/// A signed certificate, and its key in PKCS#8.
pub(crate) struct Signed {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
}

/// 24 hours that began five minutes ago.
pub(crate) fn today() -> (SystemTime, SystemTime) {
    let now = SystemTime::now();
    (
        now - Duration::from_secs(300),
        now + Duration::from_secs(86_400),
    )
}

impl TestAuthority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// An authority below this one; its `root` is its certificate.
    pub(crate) fn below(&self, (from, to): (SystemTime, SystemTime)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = (from.into(), to.into());
        let root = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let issuer = Issuer::new(params, key);
        Self { issuer, root }
    }

    pub(crate) fn sign(&self, uris: &[&str], when: (SystemTime, SystemTime)) -> Signed {
        let uris = uris.iter();
        let names = uris.map(|uri| SanType::URI((*uri).try_into().unwrap()));
        self.sign_for(names.collect(), when)
    }

    /// A certificate with these names.
    pub(crate) fn sign_for(
        &self,
        names: Vec<SanType>,
        (from, to): (SystemTime, SystemTime),
    ) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params(&[]);
        params.subject_alt_names = names;
        (params.not_before, params.not_after) = (from.into(), to.into());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            chain: vec![certificate.der().to_vec()],
            key: key.serialize_der(),
        }
    }

    /// A certificate for the key of a signing request.
    pub(crate) fn sign_request(&self, csr: &[u8], uri: &str) -> Vec<u8> {
        let mut request = rcgen::CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        request.params = leaf_params(&[uri]);
        (request.params.not_before, request.params.not_after) =
            (today().0.into(), today().1.into());
        request.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    pub(crate) fn bundle(&self) -> TrustBundle {
        let trust_domain = "usher.local".parse().unwrap();
        TrustBundle {
            trust_domain,
            version: 1,
            roots: vec![self.root.clone()],
        }
    }

    pub(crate) fn material(&self, uri: &str) -> Material {
        let signed = self.sign(&[uri], today());
        Material::new(&signed.chain, &signed.key, &self.bundle()).unwrap()
    }
}

fn leaf_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params
}
