//! Keys that verify tokens: a JSON Web Key Set (RFC 7517) → public keys, and nothing else of it.
//!
//! Whatever could weaken verification is left out when the set is read: secrets (`oct`: HMAC with what everybody may read
//! verifies nothing), keys for encryption, RSA below 2048 bits, curves that no allowed algorithm has. Keys of kinds that this
//! version does not know are skipped, since a set may have more than one reader.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::InvalidValue;

/// A set's longest text, in bytes.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;
/// The most keys of a set that are used.
const KEYS_MAX: usize = 32;

const ALLOWED: &str = "a JSON Web Key Set (RFC 7517) of at most 64 KiB with public keys for signatures: RSA of 2048 to 8192 bits, EC P-256 or P-384, Ed25519";
const PRIVATE: &str =
    "public keys only: `d` belongs to a private key, which has no place in configuration";

/// Signature algorithms (RFC 7518, RFC 8037) that are ever believed: never `none`, never HMAC, nothing with SHA-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum JwtAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl JwtAlgorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// As in a token's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// A public key's own numbers, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// Modulus and exponent.
    Rsa {
        /// 2048 to 8192 bits.
        n: Vec<u8>,
        /// At least 3.
        e: Vec<u8>,
    },
    /// The point, uncompressed: `4`, x, y.
    P256(Vec<u8>),
    /// The same.
    P384(Vec<u8>),
    /// The point.
    Ed25519(Vec<u8>),
}

impl KeyMaterial {
    /// Whether its lengths are those of its kind.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Rsa { n, e } => {
                let leads = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
                let odd = e.last().is_some_and(|last| last % 2 == 1);
                let one = e.as_slice() == [1];
                leads(n)
                    && leads(e)
                    && (256..=1024).contains(&n.len())
                    && e.len() <= 8
                    && odd
                    && !one
            }
            Self::P256(point) => point.len() == 65 && point.first() == Some(&4),
            Self::P384(point) => point.len() == 97 && point.first() == Some(&4),
            Self::Ed25519(point) => point.len() == 32,
        }
    }

    /// Whether a signature of this algorithm can be one of this key's.
    pub fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        use JwtAlgorithm as A;
        match algorithm {
            A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512 => {
                matches!(self, Self::Rsa { .. })
            }
            A::Es256 => matches!(self, Self::P256(_)),
            A::Es384 => matches!(self, Self::P384(_)),
            A::EdDsa => matches!(self, Self::Ed25519(_)),
        }
    }
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationKey {
    /// By which tokens name it; empty: they do not.
    pub id: Arc<str>,
    /// The only one that it is for, if its set says so.
    pub algorithm: Option<JwtAlgorithm>,
    /// Sound.
    pub material: KeyMaterial,
}

/// A set of them, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    text: Arc<str>,
    keys: Arc<[VerificationKey]>,
}

impl Jwks {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Those that can be used.
    pub fn keys(&self) -> &[VerificationKey] {
        &self.keys
    }
}

impl fmt::Display for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Deserialize)]
struct SetShape {
    keys: Vec<KeyShape>,
}

#[derive(Deserialize)]
struct KeyShape {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Only to see that it is there.
    d: Option<serde::de::IgnoredAny>,
}

impl FromStr for Jwks {
    type Err = InvalidValue;

    /// The error never holds any of the text: whoever pastes the wrong file shall not find his key in a log.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |found: &str, allowed| Err(InvalidValue::new(found, allowed));
        if text.len() > JWKS_BYTES_MAX {
            return invalid("a longer text", ALLOWED);
        }
        let Ok(set) = serde_json::from_str::<SetShape>(text) else {
            return invalid("something else", ALLOWED);
        };
        if set.keys.iter().any(|key| key.d.is_some()) {
            return invalid("a private key", PRIVATE);
        }
        let keys: Vec<VerificationKey> = set.keys.iter().filter_map(key).take(KEYS_MAX).collect();
        if keys.is_empty() {
            return invalid("a set without a usable key", ALLOWED);
        }
        Ok(Self {
            text: text.into(),
            keys: keys.into(),
        })
    }
}

fn key(shape: &KeyShape) -> Option<VerificationKey> {
    let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    let point = || {
        let (x, y) = (number(&shape.x)?, number(&shape.y)?);
        Some([&[4][..], &x, &y].concat())
    };
    let material = match (shape.kty.as_str(), shape.crv.as_deref()) {
        ("RSA", _) => KeyMaterial::Rsa {
            n: bare(number(&shape.n)?),
            e: bare(number(&shape.e)?),
        },
        ("EC", Some("P-256")) => KeyMaterial::P256(point()?),
        ("EC", Some("P-384")) => KeyMaterial::P384(point()?),
        ("OKP", Some("Ed25519")) => KeyMaterial::Ed25519(number(&shape.x)?),
        _ => return None,
    };
    let algorithm = match &shape.alg {
        // For something that is not believed here.
        Some(name) => Some(JwtAlgorithm::named(name)?),
        None => None,
    };
    let signs = shape.usage.as_deref().is_none_or(|usage| usage == "sig");
    let fits = algorithm.is_none_or(|algorithm| material.fits(algorithm));
    (signs && fits && material.is_sound()).then(|| VerificationKey {
        id: shape.kid.as_deref().unwrap_or_default().into(),
        algorithm,
        material,
    })
}

/// Some issuers write a zero in front, as DER would.
fn bare(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

/// Where a set is fetched: `http(s)://host[:port]/path`, at most 2048 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JwksUri(Arc<str>);

impl JwksUri {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether somebody on the way could put other keys in.
    pub fn is_plaintext(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl fmt::Display for JwksUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JwksUri {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let allowed = "`https://host[:port]/path` (or `http://`), at most 2048 characters, without user or fragment";
        let uri = text.parse::<http::Uri>().ok().filter(|uri| {
            let authority = uri.authority().map_or("", http::uri::Authority::as_str);
            let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
            scheme && !authority.is_empty() && !authority.contains('@')
        });
        match uri {
            Some(_) if text.len() <= 2048 && !text.contains('#') => Ok(Self(text.into())),
            _ => Err(InvalidValue::new(text, allowed)),
        }
    }
}

#[cfg(test)]
mod tests;
