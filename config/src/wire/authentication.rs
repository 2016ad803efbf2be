//! `Authentication`.

use std::sync::Arc;

use http::HeaderName;

use crate::{
    model::{Authentication, JwtProvider, TokenFrom},
    value::{JwtAlgorithm, KeyMaterial, VerificationKey},
};

use super::{
    DecodeError,
    scalar::{Decoded, list, required},
    v1,
};

impl From<&Authentication> for v1::Authentication {
    fn from(authentication: &Authentication) -> Self {
        Self {
            name: authentication.name.to_string(),
            required: authentication.required,
            providers: authentication.providers.iter().map(Into::into).collect(),
            invalid: authentication.invalid,
            stripped: authentication.stripped.iter().map(encode_place).collect(),
        }
    }
}

fn encode_place(place: &TokenFrom) -> v1::TokenPlace {
    use v1::token_place::Place;
    v1::TokenPlace {
        place: Some(match place {
            TokenFrom::Bearer => Place::Bearer(true),
            TokenFrom::Header(name) => Place::Header(name.to_string()),
            TokenFrom::Cookie(name) => Place::Cookie(name.to_string()),
        }),
    }
}

fn decode_place(message: v1::TokenPlace) -> Decoded<TokenFrom> {
    use v1::token_place::Place;
    Ok(match required("place", message.place)? {
        Place::Bearer(_) => TokenFrom::Bearer,
        Place::Header(name) => TokenFrom::Header(decode_header_name(name)?),
        Place::Cookie(name) => TokenFrom::Cookie(name.into()),
    })
}

impl From<&JwtProvider> for v1::JwtProvider {
    fn from(provider: &JwtProvider) -> Self {
        use v1::jwt_provider::From;
        let header = |(claim, header): &(Arc<str>, HeaderName)| v1::ClaimHeader {
            claim: claim.to_string(),
            header: header.to_string(),
        };
        Self {
            issuer: provider.issuer.to_string(),
            audiences: provider.audiences.clone(),
            keys: provider.keys.iter().map(Into::into).collect(),
            algorithms: names(&provider.algorithms),
            from: Some(match &provider.from {
                TokenFrom::Bearer => From::Bearer(true),
                TokenFrom::Header(name) => From::Header(name.to_string()),
                TokenFrom::Cookie(name) => From::Cookie(name.to_string()),
            }),
            keep: provider.keep,
            headers: provider.headers.iter().map(header).collect(),
        }
    }
}

impl From<&VerificationKey> for v1::VerificationKey {
    fn from(key: &VerificationKey) -> Self {
        use v1::verification_key::Material;
        let algorithm = key.algorithm.map(JwtAlgorithm::as_str);
        Self {
            id: key.id.to_string(),
            algorithm: algorithm.unwrap_or_default().to_owned(),
            material: Some(match &key.material {
                KeyMaterial::Rsa { n, e } => Material::Rsa(v1::RsaKey {
                    n: n.clone(),
                    e: e.clone(),
                }),
                KeyMaterial::P256(point) => Material::P256(point.clone()),
                KeyMaterial::P384(point) => Material::P384(point.clone()),
                KeyMaterial::Ed25519(point) => Material::Ed25519(point.clone()),
            }),
        }
    }
}

fn names(algorithms: &[JwtAlgorithm]) -> Vec<String> {
    let algorithms = algorithms.iter();
    algorithms.map(|one| one.as_str().to_owned()).collect()
}

pub(super) fn header_names(names: &[HeaderName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(super) fn decode_header_name(name: String) -> Decoded<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| DecodeError::at("", name, "a header name"))
}

pub(super) fn decode_authentication(message: v1::Authentication) -> Decoded<Authentication> {
    Ok(Authentication {
        name: message.name.into(),
        required: message.required,
        providers: list("providers", message.providers, decode_provider)?,
        invalid: message.invalid,
        stripped: list("stripped", message.stripped, decode_place)?,
    })
}

fn decode_provider(message: v1::JwtProvider) -> Decoded<JwtProvider> {
    use v1::jwt_provider::From;
    let header = |name: String| decode_header_name(name).map_err(|e| e.under("header"));
    Ok(JwtProvider {
        issuer: message.issuer.into(),
        audiences: message.audiences,
        keys: list("keys", message.keys, decode_key)?,
        algorithms: list("algorithms", message.algorithms, |name| {
            algorithm("", &name)
        })?,
        from: match required("from", message.from)? {
            From::Bearer(_) => TokenFrom::Bearer,
            From::Header(name) => TokenFrom::Header(header(name)?),
            From::Cookie(name) => TokenFrom::Cookie(name.into()),
        },
        keep: message.keep,
        headers: list("headers", message.headers, |one| {
            Ok((one.claim.into(), header(one.header)?))
        })?,
    })
}

fn algorithm(field: &str, name: &str) -> Decoded<JwtAlgorithm> {
    JwtAlgorithm::named(name).ok_or_else(|| {
        DecodeError::at(
            field,
            name,
            "an algorithm that is believed: RS256, ES256, EdDSA, …",
        )
    })
}

fn decode_key(message: v1::VerificationKey) -> Decoded<VerificationKey> {
    use v1::verification_key::Material;
    let material = match required("material", message.material)? {
        Material::Rsa(v1::RsaKey { n, e }) => KeyMaterial::Rsa { n, e },
        Material::P256(point) => KeyMaterial::P256(point),
        Material::P384(point) => KeyMaterial::P384(point),
        Material::Ed25519(point) => KeyMaterial::Ed25519(point),
    };
    if !material.is_sound() {
        let allowed = "a public key of 2048 to 8192 bits (RSA), or a point of its curve";
        return Err(DecodeError::at("material", "other lengths", allowed));
    }
    Ok(VerificationKey {
        id: message.id.into(),
        algorithm: match message.algorithm.as_str() {
            "" => None,
            name => Some(algorithm("algorithm", name)?),
        },
        material,
    })
}
