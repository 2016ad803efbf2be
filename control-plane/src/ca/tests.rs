//! The root and what it signs: no request can get more than its proof permits.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use usher_config::value::SpiffeId;
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    Grounds,
    authority::{Authority, AuthorityError, CLOCK_SKEW, SVID_LIFETIME},
    svid::{Claims, ProvenKey, SvidError},
};

pub(super) fn authority(directory: &Path) -> Authority {
    Authority::open(
        &directory.join("ca"),
        &"usher.local".parse().expect("valid"),
    )
    .expect("opens")
}

pub(super) fn account() -> SpiffeId {
    "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid")
}

pub(super) fn csr(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params
        .serialize_request(key)
        .expect("serializes")
        .der()
        .to_vec()
}

pub(super) fn plain_csr() -> Vec<u8> {
    csr(
        &CertificateParams::default(),
        &KeyPair::generate().expect("random"),
    )
}

/// A request for everything an attacker would like to have.
pub(super) fn greedy_csr() -> Vec<u8> {
    let names = ["account.bank".to_owned(), "10.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("valid");
    let other = "spiffe://usher.local/ns/usher-system/sa/usher";
    params
        .subject_alt_names
        .push(rcgen::SanType::URI(other.try_into().expect("ascii")));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    csr(&params, &KeyPair::generate().expect("random"))
}

/// As whoever knows `roots` verifies a client.
pub(super) fn verified(
    chain: &[CertificateDer<'static>],
    roots: &[&Vec<u8>],
    now: OffsetDateTime,
) -> Result<(), rustls::Error> {
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from((*root).clone()))?;
    }
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        store.into(),
        crate::listener::tls::provider(),
    );
    let verifier = verifier.build().expect("roots");
    let seconds = u64::try_from(now.unix_timestamp()).expect("after 1970");
    let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    verifier
        .verify_client_cert(&chain[0], &chain[1..], now)
        .map(drop)
}

#[test]
fn an_svid_has_exactly_the_shape_of_the_specification() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let now = OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .expect("valid");
    for request in [plain_csr(), greedy_csr()] {
        let key = ProvenKey::from_csr(&request).expect("signed by itself");
        let svid = authority
            .issue(&account(), &key, now, Grounds::ControlPlane)
            .expect("issued");
        let (_, leaf) = X509Certificate::from_der(&svid.chain[0]).expect("DER");
        assert_eq!(leaf.validity().not_before.to_datetime(), now - CLOCK_SKEW);
        assert_eq!(leaf.validity().not_after.to_datetime(), now + SVID_LIFETIME);
        assert_eq!(leaf.subject().as_raw(), [0x30, 0], "no subject");
        let names = leaf
            .subject_alternative_name()
            .expect("once")
            .expect("present");
        assert!(names.critical);
        assert_eq!(
            names.value.general_names,
            [GeneralName::URI(account().as_str())]
        );
        let constraints = leaf.basic_constraints().expect("once").expect("present");
        assert!(!constraints.value.ca);
        let usage = leaf.key_usage().expect("once").expect("present").value;
        assert!(
            usage.digital_signature() && usage.flags.count_ones() == 1,
            "{usage}"
        );
        let extended = leaf
            .extended_key_usage()
            .expect("once")
            .expect("present")
            .value;
        assert!(extended.server_auth && extended.client_auth && !extended.code_signing);
        assert!(extended.other.is_empty() && !extended.any);
        let known = |extension: &&x509_parser::prelude::X509Extension<'_>| {
            !matches!(
                extension.parsed_extension(),
                ParsedExtension::UnsupportedExtension { .. }
            )
        };
        assert!(leaf.extensions().iter().all(|extension| known(&extension)));
        assert_eq!(svid.chain.len(), 2, "itself and the intermediate, no root");
        let roots = authority.roots();
        let root = &roots.roots[0].certificate;
        verified(&svid.chain, &[root], now).expect("leads to the root");
        let claims = Claims::of_verified(&svid.chain[0]).expect("one name");
        assert_eq!(
            claims,
            Claims {
                id: account(),
                not_after: now + SVID_LIFETIME
            }
        );
    }
}

#[test]
fn a_leaf_never_outlives_its_issuer() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let key = ProvenKey::from_csr(&plain_csr()).expect("valid");
    let end = authority.issuer().expect("there").not_after;
    let late = end - time::Duration::hours(1);
    assert_eq!(
        authority
            .issue(&account(), &key, late, Grounds::ControlPlane)
            .expect("issued")
            .not_after,
        end
    );
    assert!(
        authority
            .issue(&account(), &key, end, Grounds::ControlPlane)
            .is_err(),
        "nothing is signed with an ended intermediate"
    );
}

#[test]
fn only_identities_of_the_own_trust_domain_are_signed() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let key = ProvenKey::from_csr(&plain_csr()).expect("valid");
    let foreign: SpiffeId = "spiffe://other.mesh/ns/bank/sa/account"
        .parse()
        .expect("valid");
    assert!(
        authority
            .issue(
                &foreign,
                &key,
                OffsetDateTime::now_utc(),
                Grounds::ControlPlane
            )
            .is_err()
    );
}

#[test]
fn requests_of_other_keys_or_signed_by_others_are_refused() {
    let refused = |request: &[u8]| ProvenKey::from_csr(request).expect_err("refused");
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("random");
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("random");
    for key in [p384, ed25519] {
        assert_eq!(
            refused(&csr(&CertificateParams::default(), &key)),
            SvidError::NotP256
        );
    }
    let mut forged = plain_csr();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(refused(&forged), SvidError::NotSelfSigned);
    let mut longer = plain_csr();
    longer.push(0);
    assert_eq!(refused(&longer), SvidError::NotARequest);
    assert_eq!(refused(&[0; 10_000]), SvidError::TooLong);
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = ProvenKey::from_csr(&bytes);
        let _ = Claims::of_verified(&CertificateDer::from(bytes));
    }

    #[test]
    fn a_changed_request_is_refused_or_still_for_the_key_that_signed_it(
        position in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let original = plain_csr();
        let key = ProvenKey::from_csr(&original).expect("valid");
        let mut changed = original;
        let position = position.index(changed.len());
        changed[position] ^= 1 << bit;
        if let Ok(other) = ProvenKey::from_csr(&changed) {
            prop_assert_eq!(other.key(), key.key());
        }
    }
}

#[test]
fn a_certificate_with_another_number_of_names_is_nobody() {
    let key = KeyPair::generate().expect("random");
    for names in [vec![], vec!["account.bank".to_owned()]] {
        let mut params = CertificateParams::new(names).expect("valid");
        let certificate = params.self_signed(&key).expect("signed");
        assert_eq!(
            Claims::of_verified(certificate.der()),
            Err(SvidError::NoIdentity)
        );
        let id = account();
        params.subject_alt_names =
            vec![rcgen::SanType::URI(id.as_str().try_into().expect("ascii")); 2];
        let certificate = params.self_signed(&key).expect("signed");
        assert_eq!(
            Claims::of_verified(certificate.der()),
            Err(SvidError::NoIdentity)
        );
    }
}

#[test]
fn the_root_survives_a_restart_and_its_key_is_private() {
    let directory = tempfile::tempdir().expect("writable");
    let first = authority(directory.path());
    let again = authority(directory.path());
    assert_eq!(
        (first.roots(), first.issuer()),
        (again.roots(), again.issuer())
    );
    let mode = |name: &str| {
        let path = directory.path().join(name);
        path.metadata().expect("exists").permissions().mode() & 0o777
    };
    assert_eq!(mode("ca"), 0o700);
    for name in [
        "ca/root.key",
        "ca/issuer.key",
        "ca/trust.json",
        "ca/issued.jsonl",
    ] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[test]
fn a_root_key_that_others_can_read_is_not_used() {
    let directory = tempfile::tempdir().expect("writable");
    drop(authority(directory.path()));
    let key = directory.path().join("ca/root.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("ours");
    let opened = Authority::open(
        &directory.path().join("ca"),
        &"usher.local".parse().expect("valid"),
    );
    assert!(matches!(opened, Err(AuthorityError::File { .. })));
}

#[test]
fn a_lost_root_key_is_never_replaced_silently() {
    let directory = tempfile::tempdir().expect("writable");
    drop(authority(directory.path()));
    let remove = |name: &str| std::fs::remove_file(directory.path().join(name)).expect("ours");
    remove("ca/root.key");
    drop(authority(directory.path()));
    remove("ca/issuer.key");
    let opened = Authority::open(
        &directory.path().join("ca"),
        &"usher.local".parse().expect("valid"),
    );
    let Err(error @ AuthorityError::NoKey { .. }) = opened else {
        panic!("opened without a key")
    };
    assert!(error.to_string().contains("backup"), "{error}");
}

#[test]
fn a_data_directory_belongs_to_one_trust_domain() {
    let directory = tempfile::tempdir().expect("writable");
    drop(authority(directory.path()));
    let opened = Authority::open(
        &directory.path().join("ca"),
        &"other.mesh".parse().expect("valid"),
    );
    let Err(error @ AuthorityError::OtherTrustDomain { .. }) = opened else {
        panic!("opened for another trust domain");
    };
    assert!(error.to_string().contains("usher.local") && error.to_string().contains("other.mesh"));
}
