//! Intermediates: when one is needed, and what of an operator's files is not taken.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use time::Duration;

use super::*;

#[test]
fn an_intermediate_is_renewed_at_half_of_its_life_and_when_another_root_signs() {
    let now = OffsetDateTime::UNIX_EPOCH;
    let facts = |root: &str| IssuerFacts {
        root: root.to_owned(),
        not_after: now,
        given: false,
    };
    for (issuer, half_over, has_key, expected) in [
        (None, false, true, Step::Make),
        (None, false, false, Step::Ask),
        (Some("a"), false, true, Step::Stay),
        (Some("a"), false, false, Step::Stay),
        (Some("a"), true, true, Step::Make),
        (Some("a"), true, false, Step::Ask),
        (Some("b"), false, true, Step::Make),
        (Some("b"), false, false, Step::Ask),
    ] {
        let issuer = issuer.map(facts);
        let found = next_step(issuer.as_ref(), half_over, ("a", has_key));
        assert_eq!(found, expected, "{issuer:?} {half_over} {has_key}");
    }
}

pub(in crate::ca) struct Made {
    pub(in crate::ca) key: KeyPair,
    pub(in crate::ca) certificate: rcgen::Certificate,
    params: CertificateParams,
}

/// As another authority's tools make them: no SPIFFE name.
pub(in crate::ca) fn made(name: &str, issuer: Option<&Made>, is_authority: bool) -> Made {
    let key = KeyPair::generate().expect("random");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("valid");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(30);
    let certificate = match issuer {
        None => params.self_signed(&key),
        Some(issuer) => {
            let signer = Signer::from_params(&issuer.params, &issuer.key);
            params.signed_by(&key, &signer)
        }
    };
    Made {
        certificate: certificate.expect("signed"),
        key,
        params,
    }
}

pub(in crate::ca) fn files(directory: &Path, chain: &[&Made], key: &KeyPair) -> GivenFiles {
    let text: String = chain.iter().map(|made| made.certificate.pem()).collect();
    let files = GivenFiles {
        certificate: directory.join("given.pem"),
        key: directory.join("given.key"),
    };
    fs::write(&files.certificate, text).expect("writable");
    fs::write(&files.key, key.serialize_pem()).expect("writable");
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).expect("ours");
    files
}

#[test]
fn files_that_do_not_fit_together_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().expect("writable");
    let now = OffsetDateTime::now_utc();
    let root = made("root", None, true);
    let middle = made("middle", Some(&root), true);
    let issuer = made("issuer", Some(&middle), true);
    let leaf = made("leaf", Some(&root), false);
    let other = made("other", None, true);
    let read = |chain: &[&Made], key: &KeyPair| files(directory.path(), chain, key).read(now);
    let given = read(&[&issuer, &middle, &root], &issuer.key).expect("good");
    assert_eq!(given.issuer.chain.len(), 2, "all but the root");
    for (chain, key, reason) in [
        (vec![&root], &root.key, "the intermediate first"),
        (vec![&issuer, &middle], &issuer.key, "self-signed root"),
        (
            vec![&issuer, &root],
            &issuer.key,
            "1 is not signed by its certificate 2",
        ),
        (
            vec![&issuer, &middle, &other],
            &issuer.key,
            "2 is not signed by its certificate 3",
        ),
        (vec![&leaf, &root], &leaf.key, "may not sign certificates"),
        (vec![&middle, &root], &issuer.key, "not for the key in"),
    ] {
        let error = read(&chain, key).err().expect("refused").to_string();
        assert!(
            error.contains(reason) && error.contains("given.pem"),
            "{error}"
        );
    }
    let late = files(directory.path(), &[&middle, &root], &middle.key);
    let late = late.read(now + Duration::days(31)).err().expect("ended");
    assert!(late.to_string().contains("not now"), "{late}");
}
