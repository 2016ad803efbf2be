//! A root that ends soon after the run.
//!
//! A certificate never outlives its issuer and is renewed at half of its life. So with a root that ends after the
//! run, certificates are renewed about halfway, then halfway through the rest, and so on: real renewals, without
//! a setting that nobody else would have.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

/// Certificates begin this long before they are made, so one with less than that to live is past its half at once.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// After the run: enough that nothing is past its half before the run is over.
const REST: Duration = Duration::from_secs(8 * 60);

/// What the control plane would make on its first start, with another end.
pub(super) fn write(folder: &Path, run: Duration) -> Result<()> {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + run + REST).into();
    params.distinguished_name = DistinguishedName::new();
    let common_name = "root of test.mesh";
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.subject_alt_names = vec![SanType::URI("spiffe://test.mesh".try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let root = params.self_signed(&key)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    for (name, text) in [("root.key", key.serialize_pem()), ("root.crt", root.pem())] {
        let mut file = OpenOptions::new();
        file.write(true).create_new(true).mode(0o600);
        file.open(folder.join(name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}
