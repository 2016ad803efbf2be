//! Peers that were verified before. The same few come back all day, with the same certificates, and a signature that held
//! once holds for ever: of a later handshake only the dates are looked at, and whether the peer has the key.
//!
//! One table belongs to one trust bundle and goes with it, so a root that was taken back vouches for nobody.

use std::{collections::HashMap, time::SystemTime};

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

/// Peers remembered, of about 100 bytes each. As many instances seldom call one sidecar in the day that an SVID lives;
/// where they do, all are forgotten and verified once more.
const PEERS_MAX: usize = 1_024;

/// sha256 of a role and every certificate, each with its length before it.
pub(super) type Fingerprint = [u8; 32];

/// From when until when, both inclusive.
pub(super) type Validity = (SystemTime, SystemTime);

/// What is presented and as what, in one number.
pub(super) fn fingerprint(
    role: u8,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Fingerprint {
    let mut digest = Sha256::new();
    digest.update([role]);
    for certificate in std::iter::once(end_entity).chain(intermediates) {
        digest.update(certificate.len().to_be_bytes());
        digest.update(certificate);
    }
    digest.finalize().into()
}

/// The peers that one trust bundle has vouched for. Read by every handshake, copied by the first one of each peer.
#[derive(Debug, Default)]
pub(super) struct KnownPeers(ArcSwap<HashMap<Fingerprint, Validity>>);

impl KnownPeers {
    /// Whether these certificates were verified, and hold at `now` too.
    pub(super) fn hold(&self, fingerprint: &Fingerprint, now: SystemTime) -> bool {
        let known = self.0.load();
        known
            .get(fingerprint)
            .is_some_and(|(from, until)| *from <= now && now <= *until)
    }

    /// These certificates were verified; all of them hold for so long.
    pub(super) fn remember(&self, fingerprint: Fingerprint, validity: Validity) {
        self.0.rcu(|known| {
            let mut known = match known.len() {
                ..PEERS_MAX => HashMap::clone(known),
                PEERS_MAX.. => HashMap::new(),
            };
            known.insert(fingerprint, validity);
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn who_was_verified_is_known_for_as_long_as_the_certificates_hold() {
        let known = KnownPeers::default();
        assert!(!known.hold(&[7; 32], at(15)));
        known.remember([7; 32], (at(10), at(20)));
        let held = [9, 10, 20, 21].map(|now| known.hold(&[7; 32], at(now)));
        assert_eq!(held, [false, true, true, false]);
        assert!(!known.hold(&[8; 32], at(15)));
    }

    #[test]
    fn the_table_is_bounded() {
        let known = KnownPeers::default();
        for number in 0..3 * PEERS_MAX {
            let mut fingerprint = [0; 32];
            fingerprint[..8].copy_from_slice(&number.to_be_bytes());
            known.remember(fingerprint, (at(0), at(1)));
            assert!(known.hold(&fingerprint, at(1)));
            assert!(known.0.load().len() <= PEERS_MAX);
        }
    }

    #[test]
    fn every_byte_and_border_counts() {
        let of = |role, certificates: &[&[u8]]| {
            let der: Vec<_> = certificates
                .iter()
                .map(|der| CertificateDer::from(*der))
                .collect();
            fingerprint(role, &der[0], &der[1..])
        };
        let all = [
            of(0, &[b"ab", b"c"]),
            of(1, &[b"ab", b"c"]),
            of(0, &[b"a", b"bc"]),
            of(0, &[b"abc"]),
            of(0, &[b"ab", b"C"]),
            of(0, &[b"ab", b"c", b""]),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
