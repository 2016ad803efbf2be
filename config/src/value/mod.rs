//! Types that cannot hold an invalid value: text becomes one of these once, at the edge.

mod alike;
mod certificates;
mod duration;
mod header;
mod jwks;
mod name;
mod number;
mod origin;
pub mod path;
mod pattern;
mod spiffe_id;
mod text;

pub use alike::{begins_like, is_like};
pub use certificates::Certificates;
pub use duration::{format_duration, parse_duration};
pub use header::HeaderText;
pub use jwks::{JWKS_BYTES_MAX, Jwks, JwksUri, JwtAlgorithm, KeyMaterial, VerificationKey};
pub use name::{CertificateName, Hostname, InstanceName, Name, ServiceName};
pub use number::{Percent, Port, Weight};
pub use origin::OriginPattern;
pub use path::{EmptySegments, PathParameters, PathReading};
pub use pattern::Pattern;
pub use spiffe_id::{SpiffeId, TrustDomain};
pub use text::Timespan;

/// Why a text is not a value of the type asked for: what was found, and what is allowed instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, allowed: {allowed}")]
pub struct InvalidValue {
    /// The text as it was given, cut to 80 characters.
    pub found: String,
    /// What would have been accepted, for people.
    pub allowed: &'static str,
}

impl InvalidValue {
    /// Keeps the first 80 characters of what was found: error messages stay bounded.
    pub fn new(found: &str, allowed: &'static str) -> Self {
        Self {
            found: found.chars().take(80).collect(),
            allowed,
        }
    }
}

#[cfg(test)]
mod tests;
