//! Join tokens: `usher1.<id>.<secret>.<sha256 of the root's SPKI>`, the last part in hex.

use std::{fmt, str::FromStr};

/// A token as read from its file. Its text is secret: neither `Debug` nor errors show it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    text: String,
    /// Digest of the key of the root that the control plane must present.
    pub root_spki_sha256: [u8; 32],
}

/// The file does not hold a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a join token: allowed is usher1.<id>.<secret>.<64 hex digits>, as `usher token create` prints it (or, on Kubernetes, a \
     service account's token)"
)]
pub struct InvalidJoinToken;

impl JoinToken {
    /// The whole token, to be sent to nobody but the pinned control plane.
    pub fn danger_expose(&self) -> &str {
        &self.text
    }
}

impl FromStr for JoinToken {
    type Err = InvalidJoinToken;
    fn from_str(text: &str) -> Result<Self, InvalidJoinToken> {
        let text = text.trim();
        let mut parts = text.split('.');
        let (Some("usher1"), Some(id), Some(secret), Some(pin), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(InvalidJoinToken);
        };
        if id.is_empty() || secret.is_empty() {
            return Err(InvalidJoinToken);
        }
        let root_spki_sha256 = digest(pin).ok_or(InvalidJoinToken)?;
        Ok(Self {
            text: text.to_owned(),
            root_spki_sha256,
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
