//! What weakens an AuthenticationPolicy without being wrong.

use crate::{kind::JwtProvider, parse::Severity};

use super::Check;

impl Check<'_, '_> {
    /// A warning: in a lab, or behind something that encrypts, it may be meant.
    pub(super) fn issuers(&mut self, providers: &[JwtProvider]) {
        for (provider, at) in providers.iter().zip(0..) {
            let plain = provider.jwks.uri.as_ref().filter(|uri| uri.is_plaintext());
            if let Some(uri) = plain {
                let found = format!(
                    "`{uri}`: whoever is on the way there decides whose tokens are believed"
                );
                let words = (found, "an address that begins with `https://`".to_owned());
                let field = format!("spec.jwt[{at}].jwks.uri");
                self.add(Severity::Warning, &field, words, None);
            }
        }
    }
}
