//! Why a request's token is not believed.

use std::fmt;

/// In what way. Each has a slug of its own, for logs and metrics; of the token itself nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenProblem {
    /// There is none, and one is required.
    Missing,
    /// Longer than anybody's.
    TooLong,
    /// No JWT, or two of them.
    Malformed,
    /// Its algorithm is not allowed, or none at all.
    Algorithm,
    /// Nobody whom the policy believes issued it.
    Issuer,
    /// No known key has its name and kind.
    UnknownKey,
    /// Somebody else signed it, or it was changed.
    Signature,
    /// Its time is over.
    Expired,
    /// It never ends, so it could never be taken back.
    Endless,
    /// Its time has not come.
    Immature,
    /// It is for somebody else.
    Audience,
    /// The policy itself was never valid.
    Policy,
}

impl TokenProblem {
    /// For `x-usher-reason` and metrics.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Missing => "token-missing",
            Self::TooLong => "token-too-long",
            Self::Malformed => "token-malformed",
            Self::Algorithm => "token-algorithm",
            Self::Issuer => "token-issuer",
            Self::UnknownKey => "token-key-unknown",
            Self::Signature => "token-signature",
            Self::Expired => "token-expired",
            Self::Endless => "token-without-expiry",
            Self::Immature => "token-not-yet-valid",
            Self::Audience => "token-audience",
            Self::Policy => "authentication-policy-invalid",
        }
    }

    /// `WWW-Authenticate` (RFC 6750 §3): who has sent no token is told only that one is asked for.
    pub const fn challenge(self) -> &'static str {
        match self {
            Self::Missing | Self::Policy => "Bearer",
            Self::TooLong => r#"Bearer error="invalid_token", error_description="too long""#,
            Self::Malformed => r#"Bearer error="invalid_token", error_description="malformed""#,
            Self::Algorithm => {
                r#"Bearer error="invalid_token", error_description="algorithm not allowed""#
            }
            Self::Issuer => r#"Bearer error="invalid_token", error_description="unknown issuer""#,
            Self::UnknownKey => r#"Bearer error="invalid_token", error_description="unknown key""#,
            Self::Signature => {
                r#"Bearer error="invalid_token", error_description="signature invalid""#
            }
            Self::Expired => r#"Bearer error="invalid_token", error_description="expired""#,
            Self::Endless => r#"Bearer error="invalid_token", error_description="no expiry""#,
            Self::Immature => r#"Bearer error="invalid_token", error_description="not yet valid""#,
            Self::Audience => {
                r#"Bearer error="invalid_token", error_description="for another audience""#
            }
        }
    }
}

impl fmt::Display for TokenProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "a token is required, and there is none",
            Self::TooLong => "the token is longer than 8 KiB",
            Self::Malformed => "the token is no JWT",
            Self::Algorithm => "the token's algorithm is not allowed",
            Self::Issuer => "the token's issuer is not one of the policy's",
            Self::UnknownKey => {
                "the token is signed with a key that its issuer's set does not have"
            }
            Self::Signature => "the token's signature is not its issuer's",
            Self::Expired => "the token has expired",
            Self::Endless => "the token has no `exp`, so it would be good for ever",
            Self::Immature => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Policy => "the policy was never valid, so nobody is let in",
        })
    }
}
