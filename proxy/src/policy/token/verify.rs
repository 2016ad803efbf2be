//! One token and one provider.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;
use usher_config::value::JwtAlgorithm;

use crate::error::TokenProblem;

use super::{Claims, Key, Provider, known::Fingerprint};

/// By how much clocks may differ.
const SKEW: Duration = Duration::from_secs(60);

/// What is read of a token's head.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// What a reader has to understand (RFC 7515 §4.1.11): nothing is, here.
    crit: Option<serde::de::IgnoredAny>,
}

/// The claims of a token that is believed.
pub(super) fn verify(
    token: &str,
    provider: &Provider,
    now: SystemTime,
) -> Result<Claims, TokenProblem> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenProblem::Malformed)?;
    let (head, body) = message.split_once('.').ok_or(TokenProblem::Malformed)?;
    let head: Head = decoded(head)?;
    let claims: Claims = decoded(body)?;
    if claims.get("iss").and_then(Value::as_str) != Some(&*provider.issuer) {
        return Err(TokenProblem::Issuer);
    }
    if head.crit.is_some() {
        return Err(TokenProblem::Malformed);
    }
    let algorithm = JwtAlgorithm::named(&head.alg);
    let algorithm = algorithm.filter(|algorithm| provider.algorithms.contains(algorithm));
    let algorithm = algorithm.ok_or(TokenProblem::Algorithm)?;
    let key = key(provider, head.kid.as_deref(), algorithm)?;
    let fingerprint = Fingerprint::of(message, signature);
    if !key.known.hold(&fingerprint) {
        let (message, algorithm) = (message.as_bytes(), named(algorithm));
        let signed = jsonwebtoken::crypto::verify(signature, message, &key.decoding, algorithm);
        if !signed.unwrap_or(false) {
            return Err(TokenProblem::Signature);
        }
        key.known.remember(&fingerprint);
    }
    in_time(&claims, now)?;
    is_for(&claims, &provider.audiences)?;
    Ok(claims)
}

fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenProblem> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenProblem::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenProblem::Malformed)
}

/// By its name; a token that names none can only mean the only one of its kind.
fn key<'p>(
    provider: &'p Provider,
    id: Option<&str>,
    algorithm: JwtAlgorithm,
) -> Result<&'p Key, TokenProblem> {
    let named = |key: &&Key| id.is_none_or(|id| *key.id == *id);
    let keys = provider.keys.iter().filter(named);
    let mut keys = keys.filter(|key| key.is_for(algorithm));
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        // Of two with one name the first, as most issuers' own libraries have it.
        (Some(key), Some(_)) if id.is_some() => Ok(key),
        _ => Err(TokenProblem::UnknownKey),
    }
}

/// Not yet over, and already begun.
fn in_time(claims: &Claims, now: SystemTime) -> Result<(), TokenProblem> {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH);
    let now = since_1970.unwrap_or_default().as_secs_f64();
    let skew = SKEW.as_secs_f64();
    let moment = |name| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(TokenProblem::Malformed),
    };
    match moment("exp")? {
        Some(end) if now < end + skew => {}
        Some(_) => return Err(TokenProblem::Expired),
        None => return Err(TokenProblem::Endless),
    }
    match moment("nbf")? {
        Some(begin) if now + skew < begin => Err(TokenProblem::Immature),
        Some(_) | None => Ok(()),
    }
}

fn is_for(claims: &Claims, audiences: &[String]) -> Result<(), TokenProblem> {
    let wanted = |one: &Value| {
        let one = one.as_str();
        one.is_some_and(|one| audiences.iter().any(|audience| audience == one))
    };
    let fits = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(wanted),
        Some(one) => wanted(one),
        None => false,
    };
    if fits {
        Ok(())
    } else {
        Err(TokenProblem::Audience)
    }
}

fn named(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}
