//! Signatures that were verified before. The same tokens come back for minutes, and a signature that held once holds for
//! ever: of a later request only the claims are looked at (its time, for whom it is).
//!
//! One table belongs to one key, so a key that is taken back vouches for nothing. It has as many places as there are, and a
//! newer token takes an older one's. A place is two words, half of a SHA-256 each, written one after the other without a lock:
//! for a moment they may be halves of two tokens, and to be taken for a third one it would have to have both.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use crate::atomic::{AtomicU64, Ordering};

/// Tokens remembered for a key, in 16 KiB that are taken when the first one comes.
const PLACES: usize = 1_024;

/// A signed message and its signature, in three numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fingerprint {
    place: usize,
    halves: [u64; 2],
}

impl Fingerprint {
    pub(super) fn of(message: &str, signature: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(message.len().to_be_bytes());
        digest.update(message);
        digest.update(signature);
        let digest = digest.finalize();
        let mut words = digest.chunks_exact(8).map(|word| {
            let word = <[u8; 8]>::try_from(word).unwrap_or_default();
            u64::from_be_bytes(word)
        });
        let mut word = || words.next().unwrap_or_default();
        let halves = [word(), word()];
        let places = u64::try_from(PLACES).unwrap_or(1);
        Self {
            place: usize::try_from(word() % places).unwrap_or(0),
            halves,
        }
    }
}

/// The tokens that one key has vouched for.
#[derive(Debug, Default)]
pub(super) struct Known(OnceLock<Box<[[AtomicU64; 2]]>>);

impl Known {
    /// Whether this signature was verified.
    pub(super) fn hold(&self, fingerprint: &Fingerprint) -> bool {
        let place = self.0.get().and_then(|all| all.get(fingerprint.place));
        place.is_some_and(|place| {
            let [high, low] = place;
            [high.load(Ordering::SeqCst), low.load(Ordering::SeqCst)] == fingerprint.halves
        })
    }

    /// It was.
    pub(super) fn remember(&self, fingerprint: &Fingerprint) {
        let empty = || [AtomicU64::new(0), AtomicU64::new(0)];
        let all = self
            .0
            .get_or_init(|| (0..PLACES).map(|_| empty()).collect());
        if let Some([high, low]) = all.get(fingerprint.place) {
            high.store(fingerprint.halves[0], Ordering::SeqCst);
            low.store(fingerprint.halves[1], Ordering::SeqCst);
        }
    }
}
