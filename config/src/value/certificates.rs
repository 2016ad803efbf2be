//! CA certificates as text: PEM, as every tool writes them.

use std::{fmt, fmt::Write as _, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::InvalidValue;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// As many as four operating systems trust, of up to 4 KiB each: one message to a proxy carries them.
const CERTIFICATES_MAX: usize = 64;
const BYTES_MAX: usize = 256 * 1024;

/// At least one certificate, at most 64 of 256 KiB together. What is in them is not looked at, but that each is one DER
/// sequence. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates(Arc<[Vec<u8>]>);

impl Certificates {
    /// DER, in the order of the text.
    pub fn der(&self) -> &[Vec<u8>] {
        &self.0
    }
}

impl FromStr for Certificates {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const ALLOWED: &str =
            "CA certificates as PEM (`-----BEGIN CERTIFICATE-----`), 1 to 64, without any key";
        let read = || {
            let blocks = text.matches("-----BEGIN ").count();
            let mut certificates = Vec::new();
            let (mut rest, mut bytes) = (text, 0);
            while let Some((_, after)) = rest.split_once(BEGIN) {
                let (body, further) = after.split_once(END)?;
                let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                let der = STANDARD.decode(body).ok().filter(|der| is_sequence(der))?;
                bytes += der.len();
                certificates.push(der);
                rest = further;
            }
            let fits = (1..=CERTIFICATES_MAX).contains(&certificates.len()) && bytes <= BYTES_MAX;
            // Whatever else is in it, a key is none of ours to carry about.
            (fits && blocks == certificates.len()).then(|| Self(certificates.into()))
        };
        read().ok_or_else(|| InvalidValue::new(text, ALLOWED))
    }
}

/// Whether it is one DER `SEQUENCE` and nothing beyond it (X.690 §8.1.3).
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else {
        return false;
    };
    match usize::from(*length) {
        short @ ..0x80 => rest.len() == short,
        long => {
            let Some((digits, rest)) = rest.split_at_checked(long - 0x80) else {
                return false;
            };
            let fold =
                |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add(usize::from(*byte));
            !digits.is_empty() && digits.iter().try_fold(0, fold) == Some(rest.len())
        }
    }
}

impl fmt::Display for Certificates {
    /// PEM, 64 characters to a line (RFC 7468).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for der in self.0.iter() {
            writeln!(f, "{BEGIN}")?;
            for (at, letter) in STANDARD.encode(der).chars().enumerate() {
                if at > 0 && at % 64 == 0 {
                    f.write_char('\n')?;
                }
                f.write_char(letter)?;
            }
            writeln!(f, "\n{END}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.0.len())
    }
}

#[cfg(test)]
mod tests;
