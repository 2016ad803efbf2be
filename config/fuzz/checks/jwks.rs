//! What must hold for any answer of a token issuer: no set, or public keys that are sound, and nothing secret in an error.

use usher_config::value::Jwks;

/// Panics if a key is not what its kind says, or if an error repeats what was read.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Jwks>() {
        Ok(set) => {
            assert!(!set.keys().is_empty() && set.keys().len() <= 32);
            for key in set.keys() {
                assert!(key.material.is_sound());
                assert!(
                    key.algorithm
                        .is_none_or(|algorithm| key.material.fits(algorithm))
                );
            }
            assert_eq!(set.as_str().parse::<Jwks>().as_ref(), Ok(&set));
        }
        Err(error) => {
            let words = [
                "a longer text",
                "something else",
                "a private key",
                "a set without a usable key",
            ];
            assert!(words.contains(&error.found.as_str()));
        }
    }
}
