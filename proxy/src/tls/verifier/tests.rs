//! Peers who come back: what is spared them, and what is not.

use crate::tls::tests::{TestAuthority, today};

use super::*;

const ALICE: &str = "spiffe://usher.local/ns/bank/sa/alice";

fn verifier(authority: &TestAuthority) -> MeshVerifier {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    MeshVerifier::new(
        "usher.local".parse().unwrap(),
        std::slice::from_ref(&authority.root),
        provider.signature_verification_algorithms,
    )
    .unwrap()
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

#[test]
fn a_peer_that_comes_back_is_held_to_its_dates() {
    let authority = TestAuthority::new();
    let verifier = verifier(&authority);
    let (from, until) = today();
    let der = authority.sign(&[ALICE], (from, until)).chain.remove(0);
    let der = CertificateDer::from(der);
    let verify = |at| verifier.verify(&der, &[], unix(at), Role::Client);
    let second = Duration::from_secs(1);
    for at in [until + second, from - second] {
        assert!(verify(at).is_err());
        assert!(verify(from + second).is_ok());
        assert!(
            verifier
                .known
                .hold(&fingerprint(1, &der, &[]), from + second)
        );
        assert!(verify(at).is_err(), "known, and not valid then");
    }
}

#[test]
fn nobody_is_known_who_was_refused_or_resembles_one_who_was_not() {
    let authority = TestAuthority::new();
    let verifier = verifier(&authority);
    let now = unix(SystemTime::now());
    let good = authority.sign(&[ALICE], today()).chain.remove(0);
    let known = CertificateDer::from(good.clone());
    assert!(verifier.verify(&known, &[], now, Role::Client).is_ok());
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let stranger = TestAuthority::new().sign(&[ALICE], today()).chain.remove(0);
    let elsewhere = "spiffe://elsewhere/ns/bank/sa/alice";
    let elsewhere = authority.sign(&[elsewhere], today()).chain.remove(0);
    for der in [forged, stranger, elsewhere] {
        let der = CertificateDer::from(der);
        for _ in 0..2 {
            assert!(verifier.verify(&der, &[], now, Role::Client).is_err());
        }
    }
    for addition in [good, b"no certificate".to_vec()] {
        let shown = [CertificateDer::from(addition)];
        assert!(verifier.verify(&known, &shown, now, Role::Client).is_ok());
        let print = fingerprint(Role::Client as u8, &known, &shown);
        assert!(!verifier.known.hold(&print, SystemTime::now()));
    }
}

#[test]
fn a_path_is_known_until_its_first_certificate_ends() {
    let authority = TestAuthority::new();
    let verifier = verifier(&authority);
    let (from, until) = today();
    let hour = Duration::from_secs(3_600);
    let below = authority.below((from, until - hour));
    let der = CertificateDer::from(below.sign(&[ALICE], (from, until)).chain.remove(0));
    let path = [CertificateDer::from(below.root)];
    let verify = |at| verifier.verify(&der, &path, unix(at), Role::Server);
    assert!(verify(until - 2 * hour).is_ok());
    let print = fingerprint(Role::Server as u8, &der, &path);
    assert!(verifier.known.hold(&print, until - 2 * hour));
    assert!(!verifier.known.hold(&print, until - hour / 2));
    assert!(verify(until - hour / 2).is_err());
}
