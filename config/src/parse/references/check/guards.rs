//! What an AuthenticationPolicy or RateLimitPolicy says without effect, or to its own harm.

use crate::{
    kind::{JwtProvider, LimitKey, MESH_NAMESPACE, RateLimit},
    parse::Severity,
    value::Name,
};

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

    /// Claims are those of verified tokens. A warning: the policy that verifies them may be another directory's.
    pub(super) fn claims(&mut self, limits: &[RateLimit]) {
        let authenticates = &self.index.authenticates;
        let of_mesh = authenticates
            .iter()
            .any(|namespace: &&Name| namespace.as_str() == MESH_NAMESPACE);
        if of_mesh || authenticates.contains(self.namespace()) || self.index.partial {
            return;
        }
        for (limit, at) in limits.iter().zip(0..) {
            for (key, number) in limit.key.iter().zip(0..) {
                if let LimitKey::Claim(name) = key {
                    let own = self.namespace();
                    let found = format!(
                        "the claim `{name}`, but no AuthenticationPolicy of `{own}` or the mesh verifies tokens: all requests \
                         are one key"
                    );
                    let allowed =
                        "a claim of tokens that an AuthenticationPolicy verifies".to_owned();
                    let field = format!("spec.limits[{at}].key[{number}]");
                    self.add(Severity::Warning, &field, (found, allowed), None);
                }
            }
        }
    }
}
