//! Who may read a key, and when a certificate is spoken of.

use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, KeyPair};

use super::*;

#[test]
fn a_key_is_its_owners_or_is_read_by_a_group_of_ours() {
    for (mode, own_group, exposed) in [
        (0o600, false, false),
        (0o400, false, false),
        // As `fsGroup` has it.
        (0o440, true, false),
        (0o640, true, false),
        (0o640, false, true),
        (0o660, true, true),
        (0o604, true, true),
        (0o602, true, true),
        (0o100_600, false, false),
    ] {
        assert_eq!(
            is_exposed(mode, || own_group),
            exposed,
            "{mode:o} {own_group}"
        );
    }
    assert!(is_group_of_ours(getegid().as_raw()));
}

#[test]
fn a_certificate_ends_soon_two_weeks_before_it_does() {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let day = Duration::from_secs(24 * 3600);
    for (now, validity) in [
        (end - 15 * day, Validity::Fine),
        (end - 13 * day, Validity::EndsSoon),
        (end, Validity::EndsSoon),
        (end + day, Validity::Expired),
    ] {
        assert_eq!(Validity::of(end, now), validity);
    }
}

#[test]
fn files_in_the_wrong_order_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    let write = |name: &str, text: String, mode| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    // As people have them: the certificate for all to read, the key for nobody.
    let chain = write("tls.crt", params.self_signed(&pair).unwrap().pem(), 0o644);
    let key = write("tls.key", pair.serialize_pem(), 0o600);
    let read = |certificate: &Path, key: &Path| {
        let files = CertificateFiles {
            name: "shop".parse().unwrap(),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        let watched = Watched {
            files,
            looks: None,
            expiry: Metrics::new(1).certificate_expiry("shop"),
            refused: None,
            said: Validity::Fine,
        };
        watched.read(&edge::tickets().unwrap())
    };
    read(&chain, &key).unwrap();
    let said = read(&key, &chain).unwrap_err().to_string();
    let wanted = format!(
        "{} holds a private key and {} holds none",
        key.display(),
        chain.display()
    );
    assert!(said.starts_with(&wanted), "{said}");
}
