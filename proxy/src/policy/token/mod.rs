//! Tokens: whether a request's JWT is believed (RFC 7519, RFC 8725), and what it then says.
//!
//! Pure: the wall clock's time is an argument, because an expiry is a date. Nothing that a token says about how to verify it
//! is followed (`jku`, `x5u`, `jwk`): its `alg` has to be one that the policy allows and that the key is for, its `kid` only
//! picks among the issuer's known keys. Signatures are checked by `jsonwebtoken`; claims are checked here, since that crate
//! reads the clock itself, takes a token without an audience for one that fits, and looks past `crit`.
//!
//! What costs little is asked first: who has no token of a known issuer and key makes nobody verify a signature.

mod find;
mod known;
mod verify;

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName};
use jsonwebtoken::DecodingKey;
use usher_config::{
    model::{self, TokenFrom},
    value::{JwtAlgorithm, KeyMaterial, VerificationKey},
};

use crate::error::TokenProblem;

use super::rate_limit::Claims;

use known::Known;

/// A policy, ready for use.
#[derive(Debug)]
pub struct Authenticator {
    /// `namespace/name`.
    pub policy: Arc<str>,
    required: bool,
    invalid: bool,
    providers: Vec<Provider>,
    /// Where its providers' tokens are, each once.
    places: Vec<TokenFrom>,
    /// Where tokens are taken out that nobody looks at.
    stripped: Vec<TokenFrom>,
    headers: Vec<HeaderName>,
    token_headers: Arc<[HeaderName]>,
}

/// Somebody who signs tokens.
#[derive(Debug)]
pub struct Provider {
    issuer: Arc<str>,
    audiences: Vec<String>,
    algorithms: Vec<JwtAlgorithm>,
    keys: Vec<Key>,
    /// Where its tokens are.
    pub from: TokenFrom,
    /// Whether the application gets them.
    pub keep: bool,
    /// Claims that become headers.
    pub headers: Vec<(Arc<str>, HeaderName)>,
}

#[derive(Debug)]
struct Key {
    id: Arc<str>,
    algorithm: Option<JwtAlgorithm>,
    material: KeyMaterial,
    decoding: DecodingKey,
    known: Known,
}

/// A believed token.
#[derive(Debug)]
pub struct Believed<'p> {
    /// Whose.
    pub provider: &'p Provider,
    /// All that it says.
    pub claims: Claims,
}

impl Authenticator {
    /// Of what the control plane said.
    pub fn new(model: &model::Authentication) -> Self {
        Self {
            policy: model.name.clone(),
            required: model.required,
            invalid: model.invalid,
            providers: model.providers.iter().map(Provider::new).collect(),
            places: places(&model.providers),
            headers: (model.providers.iter())
                .flat_map(|provider| provider.headers.iter().map(|(_, header)| header.clone()))
                .collect(),
            stripped: (model.stripped.iter())
                .filter(|place| !is_provided(place, &model.providers))
                .cloned()
                .collect(),
            token_headers: (model.providers.iter().map(|provider| &provider.from))
                .chain(&model.stripped)
                .filter_map(|place| match place {
                    TokenFrom::Header(name) => Some(name.clone()),
                    TokenFrom::Bearer | TokenFrom::Cookie(_) => None,
                })
                .collect(),
        }
    }

    /// Whether a request without a token is refused; opaque streams have none.
    pub fn is_required(&self) -> bool {
        self.required || self.invalid
    }

    /// The headers that claims are written into.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// The headers that tokens are in, beside those that HTTP has for it.
    pub fn token_headers(&self) -> &Arc<[HeaderName]> {
        &self.token_headers
    }

    /// The claims of the request's token; `None`: it has none, and needs none.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Option<Believed<'_>>, TokenProblem> {
        if self.invalid {
            return Err(TokenProblem::Policy);
        }
        let Some(place) = self.place(headers)? else {
            let refused = Err(TokenProblem::Missing);
            return if self.required { refused } else { Ok(None) };
        };
        let mut problem = TokenProblem::Malformed;
        for provider in &self.providers {
            if !find::is_same_place(&provider.from, place) {
                continue;
            }
            let Some(token) = find::token(headers, &provider.from)? else {
                continue;
            };
            match verify::verify(&token, provider, now) {
                Ok(claims) => return Ok(Some(Believed { provider, claims })),
                // Perhaps another's: of all that are no token for them, the last says why.
                Err(TokenProblem::Issuer) => problem = TokenProblem::Issuer,
                Err(problem) => return Err(problem),
            }
        }
        Err(problem)
    }

    /// Where the request's token is. With another one elsewhere it has none that anybody could mean: an application that
    /// looks there would believe what nobody has verified.
    fn place(&self, headers: &HeaderMap) -> Result<Option<&TokenFrom>, TokenProblem> {
        let mut found = None;
        for place in &self.places {
            if find::token(headers, place)?.is_some() && found.replace(place).is_some() {
                return Err(TokenProblem::Malformed);
            }
        }
        Ok(found)
    }

    /// Takes tokens out, wherever one could be; `believed`: whose stays, if it is to be kept.
    pub fn strip(&self, headers: &mut HeaderMap, believed: Option<&Provider>) {
        let kept = believed.filter(|provider| provider.keep);
        let kept = kept.map(|provider| &provider.from);
        for provider in self.providers.iter().filter(|provider| !provider.keep) {
            if kept.is_none_or(|kept| !find::is_same_place(kept, &provider.from)) {
                find::strip(headers, &provider.from);
            }
        }
        for place in &self.stripped {
            find::strip(headers, place);
        }
    }
}

fn is_provided(place: &TokenFrom, providers: &[model::JwtProvider]) -> bool {
    let mut places = providers.iter().map(|provider| &provider.from);
    places.any(|provided| find::is_same_place(provided, place))
}

/// Of two that are the same the one in which more is found.
fn places(providers: &[model::JwtProvider]) -> Vec<TokenFrom> {
    let mut places: Vec<TokenFrom> = Vec::new();
    for provider in providers {
        let same = |place: &&mut TokenFrom| find::is_same_place(place, &provider.from);
        match (places.iter_mut().find(same), &provider.from) {
            (None, from) => places.push(from.clone()),
            (Some(place), TokenFrom::Header(_)) => *place = provider.from.clone(),
            (Some(_), _) => {}
        }
    }
    places
}

impl Provider {
    fn new(model: &model::JwtProvider) -> Self {
        Self {
            issuer: model.issuer.clone(),
            audiences: model.audiences.clone(),
            algorithms: model.algorithms.clone(),
            keys: model.keys.iter().map(Key::new).collect(),
            from: model.from.clone(),
            keep: model.keep,
            headers: model.headers.clone(),
        }
    }
}

impl Key {
    fn new(key: &VerificationKey) -> Self {
        Self {
            id: key.id.clone(),
            algorithm: key.algorithm,
            material: key.material.clone(),
            known: Known::default(),
            decoding: match &key.material {
                KeyMaterial::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
                KeyMaterial::P256(point) | KeyMaterial::P384(point) => {
                    DecodingKey::from_ec_der(point)
                }
                KeyMaterial::Ed25519(point) => DecodingKey::from_ed_der(point),
            },
        }
    }

    /// Whether the key may be used so.
    fn is_for(&self, algorithm: JwtAlgorithm) -> bool {
        self.material.fits(algorithm) && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

#[cfg(test)]
mod tests;
