//! No request can get more than its proof permits.

use std::{
    num::NonZeroU32,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tonic::{Code, Request};
use usher_config::{
    value::SpiffeId,
    wire::v1::{self, authority_server::Authority as _},
};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    attest::AuthorityService,
    authority::{Authority, AuthorityError, CLOCK_SKEW, SVID_LIFETIME},
    peer::PeerIdentity,
    svid::{Claims, ProvenKey, SvidError},
    token::{JoinToken, Refusal, TTL_MAX, TokenError, TokenRequest, TokenStore},
};
use crate::telemetry::metrics::Metrics;

fn authority(directory: &Path) -> Authority {
    Authority::open(&directory.join("ca"), &"usher.local".parse().expect("valid")).expect("opens")
}

fn account() -> SpiffeId {
    "spiffe://usher.local/ns/bank/sa/account".parse().expect("valid")
}

fn csr(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.serialize_request(key).expect("serializes").der().to_vec()
}

fn plain_csr() -> Vec<u8> {
    csr(&CertificateParams::default(), &KeyPair::generate().expect("random"))
}

/// A request for everything an attacker would like to have.
fn greedy_csr() -> Vec<u8> {
    let names = ["account.bank".to_owned(), "10.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("valid");
    let other = "spiffe://usher.local/ns/usher-system/sa/usher";
    params.subject_alt_names.push(rcgen::SanType::URI(other.try_into().expect("ascii")));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    csr(&params, &KeyPair::generate().expect("random"))
}

#[test]
fn an_svid_has_exactly_the_shape_of_the_specification() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("valid");
    for request in [plain_csr(), greedy_csr()] {
        let key = ProvenKey::from_csr(&request).expect("signed by itself");
        let svid = authority.issue(&account(), &key, now).expect("issued");
        let (_, leaf) = X509Certificate::from_der(&svid.certificate).expect("DER");
        assert_eq!(leaf.validity().not_before.to_datetime(), now - CLOCK_SKEW);
        assert_eq!(leaf.validity().not_after.to_datetime(), now + SVID_LIFETIME);
        assert_eq!(leaf.subject().as_raw(), [0x30, 0], "no subject");
        let names = leaf.subject_alternative_name().expect("once").expect("present");
        assert!(names.critical);
        assert_eq!(names.value.general_names, [GeneralName::URI(account().as_str())]);
        let constraints = leaf.basic_constraints().expect("once").expect("present");
        assert!(!constraints.value.ca);
        let usage = leaf.key_usage().expect("once").expect("present").value;
        assert!(usage.digital_signature() && usage.flags.count_ones() == 1, "{usage}");
        let extended = leaf.extended_key_usage().expect("once").expect("present").value;
        assert!(extended.server_auth && extended.client_auth && !extended.code_signing);
        assert!(extended.other.is_empty() && !extended.any);
        let known = |extension: &&x509_parser::prelude::X509Extension<'_>| {
            !matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { .. })
        };
        assert!(leaf.extensions().iter().all(|extension| known(&extension)));
        let (_, root) = X509Certificate::from_der(authority.root()).expect("DER");
        leaf.verify_signature(Some(root.public_key())).expect("signed by the root");
        let claims = Claims::of_verified(&svid.certificate).expect("one name");
        assert_eq!(claims, Claims { id: account(), not_after: now + SVID_LIFETIME });
    }
}

#[test]
fn a_leaf_never_outlives_its_issuer() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let key = ProvenKey::from_csr(&plain_csr()).expect("valid");
    let end = authority.root_not_after();
    let late = end - time::Duration::hours(1);
    assert_eq!(authority.issue(&account(), &key, late).expect("issued").not_after, end);
    assert!(authority.issue(&account(), &key, end).is_err(), "nothing is signed by an ended root");
}

#[test]
fn only_identities_of_the_own_trust_domain_are_signed() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let key = ProvenKey::from_csr(&plain_csr()).expect("valid");
    let foreign: SpiffeId = "spiffe://other.mesh/ns/bank/sa/account".parse().expect("valid");
    assert!(authority.issue(&foreign, &key, OffsetDateTime::now_utc()).is_err());
}

#[test]
fn requests_of_other_keys_or_signed_by_others_are_refused() {
    let refused = |request: &[u8]| ProvenKey::from_csr(request).expect_err("refused");
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("random");
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("random");
    for key in [p384, ed25519] {
        assert_eq!(refused(&csr(&CertificateParams::default(), &key)), SvidError::NotP256);
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

    #[test]
    fn no_text_makes_the_token_parser_panic(text in "\\PC{0,200}") {
        let _ = text.parse::<JoinToken>();
    }
}

#[test]
fn a_certificate_with_another_number_of_names_is_nobody() {
    let key = KeyPair::generate().expect("random");
    for names in [vec![], vec!["account.bank".to_owned()]] {
        let mut params = CertificateParams::new(names).expect("valid");
        let certificate = params.self_signed(&key).expect("signed");
        assert_eq!(Claims::of_verified(certificate.der()), Err(SvidError::NoIdentity));
        let id = account();
        params.subject_alt_names =
            vec![rcgen::SanType::URI(id.as_str().try_into().expect("ascii")); 2];
        let certificate = params.self_signed(&key).expect("signed");
        assert_eq!(Claims::of_verified(certificate.der()), Err(SvidError::NoIdentity));
    }
}

#[test]
fn the_root_survives_a_restart_and_its_key_is_private() {
    let directory = tempfile::tempdir().expect("writable");
    let first = authority(directory.path());
    let again = authority(directory.path());
    assert_eq!((first.root(), first.pin()), (again.root(), again.pin()));
    let mode = |name: &str| {
        let path = directory.path().join(name);
        path.metadata().expect("exists").permissions().mode() & 0o777
    };
    assert_eq!((mode("ca"), mode("ca/root.key")), (0o700, 0o600));
}

#[test]
fn a_root_key_that_others_can_read_is_not_used() {
    let directory = tempfile::tempdir().expect("writable");
    drop(authority(directory.path()));
    let key = directory.path().join("ca/root.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("ours");
    let opened = Authority::open(&directory.path().join("ca"), &"usher.local".parse().expect("valid"));
    assert!(matches!(opened, Err(AuthorityError::File { .. })));
}

#[test]
fn a_lost_root_key_is_never_replaced_silently() {
    let directory = tempfile::tempdir().expect("writable");
    drop(authority(directory.path()));
    std::fs::remove_file(directory.path().join("ca/root.key")).expect("ours");
    let opened = Authority::open(&directory.path().join("ca"), &"usher.local".parse().expect("valid"));
    assert!(opened.is_err());
}

#[test]
fn a_data_directory_belongs_to_one_trust_domain() {
    let directory = tempfile::tempdir().expect("writable");
    drop(authority(directory.path()));
    let opened = Authority::open(&directory.path().join("ca"), &"other.mesh".parse().expect("valid"));
    let Err(error @ AuthorityError::OtherTrustDomain { .. }) = opened else {
        panic!("opened for another trust domain");
    };
    assert!(error.to_string().contains("usher.local") && error.to_string().contains("other.mesh"));
}

fn tokens(directory: &Path) -> TokenStore {
    TokenStore::open(&directory.join("tokens.redb"), &"a".repeat(64)).expect("opens")
}

fn wanted(ttl: Duration, uses: Option<u32>) -> TokenRequest {
    TokenRequest {
        namespace: "bank".parse().expect("valid"),
        service_account: "account".parse().expect("valid"),
        ttl,
        uses: uses.and_then(NonZeroU32::new),
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_token_is_good_for_its_uses_and_its_account_also_after_a_restart() {
    let directory = tempfile::tempdir().expect("writable");
    let now = SystemTime::now();
    let (token, _) = tokens(directory.path()).create(&wanted(HOUR, Some(2)), now).expect("made");
    for _ in 0..2 {
        let subject = tokens(directory.path()).redeem(&token, now).expect("permitted");
        assert_eq!(subject.service_account.as_str(), "account");
        assert_eq!(subject.namespace.as_str(), "bank");
    }
    assert!(matches!(tokens(directory.path()).redeem(&token, now), Err(Refusal::Spent)));
}

#[test]
fn an_expired_token_is_refused_and_then_forgotten() {
    let directory = tempfile::tempdir().expect("writable");
    let (store, now) = (tokens(directory.path()), SystemTime::now());
    let (token, expires_at) = store.create(&wanted(HOUR, None), now).expect("made");
    assert_eq!(expires_at, now + HOUR);
    let last = now + HOUR - Duration::from_secs(2);
    assert!(store.redeem(&token, last).is_ok(), "without a limit, as often as wanted");
    assert!(store.redeem(&token, last).is_ok());
    assert!(matches!(store.redeem(&token, now + HOUR), Err(Refusal::Expired)));
    store.create(&wanted(HOUR, None), now + 2 * HOUR).expect("made");
    assert_eq!(store.len().expect("readable"), 1);
    assert!(matches!(store.redeem(&token, now), Err(Refusal::NotKnown)));
}

#[test]
fn a_token_with_another_secret_id_or_root_is_refused() {
    let directory = tempfile::tempdir().expect("writable");
    let (store, now) = (tokens(directory.path()), SystemTime::now());
    let (token, _) = store.create(&wanted(HOUR, Some(1)), now).expect("made");
    let (other, _) = store.create(&wanted(HOUR, Some(1)), now).expect("made");
    let text = token.reveal();
    let parts: Vec<&str> = text.split('.').collect();
    let other_text = other.reveal();
    let others: Vec<&str> = other_text.split('.').collect();
    let build = |id: &str, secret: &str, pin: &str| -> JoinToken {
        format!("usher1.{id}.{secret}.{pin}").parse().expect("well-formed")
    };
    let swapped = build(parts[1], others[2], parts[3]);
    assert!(matches!(store.redeem(&swapped, now), Err(Refusal::NotKnown)));
    let unknown = build("0123456789abcdef", parts[2], parts[3]);
    assert!(matches!(store.redeem(&unknown, now), Err(Refusal::NotKnown)));
    let pinned = build(parts[1], parts[2], &"b".repeat(64));
    assert!(matches!(store.redeem(&pinned, now), Err(Refusal::OtherMesh)));
    assert!(store.redeem(&token, now).is_ok(), "refusals cost no use");
}

#[test]
fn a_token_can_be_made_neither_for_the_control_plane_nor_for_ever() {
    let directory = tempfile::tempdir().expect("writable");
    let (store, now) = (tokens(directory.path()), SystemTime::now());
    let reserved = TokenRequest {
        namespace: "usher-system".parse().expect("valid"),
        ..wanted(HOUR, None)
    };
    assert!(matches!(store.create(&reserved, now), Err(TokenError::Reserved)));
    for ttl in [Duration::ZERO, TTL_MAX + Duration::from_secs(1)] {
        assert!(matches!(store.create(&wanted(ttl, None), now), Err(TokenError::Ttl)));
    }
}

#[test]
fn a_token_is_hashed_at_rest_and_hidden_in_debug() {
    let directory = tempfile::tempdir().expect("writable");
    let (token, _) =
        tokens(directory.path()).create(&wanted(HOUR, None), SystemTime::now()).expect("made");
    let text = token.reveal();
    let secret = text.split('.').nth(2).expect("three parts").as_bytes();
    let file = std::fs::read(directory.path().join("tokens.redb")).expect("exists");
    assert!(!file.windows(secret.len()).any(|window| window == secret));
    assert!(!format!("{token:?}").contains(text.split('.').nth(2).expect("three parts")));
    assert_eq!(text.parse::<JoinToken>().expect("round trip"), token);
}

struct Service {
    service: AuthorityService,
    tokens: Arc<TokenStore>,
    _directory: tempfile::TempDir,
}

fn service() -> Service {
    let directory = tempfile::tempdir().expect("writable");
    let authority = Arc::new(authority(directory.path()));
    let tokens = TokenStore::open(&directory.path().join("tokens.redb"), authority.pin());
    let tokens = Arc::new(tokens.expect("opens"));
    let metrics = Metrics::new().expect("unique");
    let service = AuthorityService::new(authority, Arc::clone(&tokens), metrics.ca);
    Service { service, tokens, _directory: directory }
}

#[tokio::test]
async fn attesting_gives_the_tokens_identity_whatever_the_request_asks_for() {
    let Service { service, tokens, _directory } = service();
    let (token, _) = tokens.create(&wanted(HOUR, Some(1)), SystemTime::now()).expect("made");
    let attest = |csr_der: Vec<u8>| {
        service.attest(Request::new(v1::AttestRequest { join_token: token.reveal(), csr_der }))
    };
    let broken = attest(vec![1, 2, 3]).await.expect_err("not a request");
    assert_eq!(broken.code(), Code::InvalidArgument, "and no use is spent on it");
    let response = attest(greedy_csr()).await.expect("attested").into_inner();
    assert_eq!(response.spiffe_id, account().as_str());
    assert_eq!((response.chain_der.len(), response.roots_der.len()), (1, 1));
    let leaf = CertificateDer::from(response.chain_der[0].as_slice());
    assert_eq!(Claims::of_verified(&leaf).expect("one name").id, account());
    let again = attest(plain_csr()).await.expect_err("spent");
    assert_eq!(again.code(), Code::Unauthenticated);
    assert!(!again.message().contains(&token.reveal()));
}

#[tokio::test]
async fn renewal_needs_an_identity_and_gives_the_same() {
    let Service { service, _directory, .. } = service();
    let request = |peer: Option<PeerIdentity>| {
        let mut request = Request::new(v1::RenewRequest { csr_der: greedy_csr() });
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        request
    };
    for peer in [None, Some(PeerIdentity(None))] {
        let refused = service.renew(request(peer)).await.expect_err("nobody");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let peer = PeerIdentity(Some(account()));
    let renewed = service.renew(request(Some(peer))).await.expect("renewed").into_inner();
    assert_eq!(renewed.spiffe_id, account().as_str());
}
