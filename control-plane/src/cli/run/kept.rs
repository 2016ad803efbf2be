//! Whether a sidecar can go on with the identity of an earlier run.
//!
//! It takes one only if it is of the namespace and the account that it was told, and of the mesh whose root its join token
//! pins; with another one it waits for a token, as with none.

use std::{path::Path, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use usher_config::value::Name;

use super::state_directory::StateDirectory;
use crate::ca::{
    authority::{hex, pin_of},
    svid::Claims,
    token::JoinToken,
};

/// Where a sidecar keeps its identity, in its state directory.
pub(super) const IDENTITY: &str = "identity.json";

/// What counts of the file.
#[derive(Deserialize)]
struct Kept {
    /// DER in base64, the sidecar's own certificate first.
    chain: Vec<String>,
    /// Those of its mesh.
    #[serde(default)]
    roots: Vec<String>,
    /// SHA-256 of the public keys of those that its mesh had, in base64.
    #[serde(default, rename = "formerRoots")]
    former_roots: Vec<String>,
}

/// What a start asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) namespace: &'a Name,
    /// `None`: any of the namespace.
    pub(super) account: Option<&'a str>,
    /// One that is not there, or is none, says nothing about a mesh; `None` neither.
    pub(super) token: Option<&'a Path>,
}

/// Whether the sidecar will go on with what is in its state directory.
pub(super) fn has_identity(state: &StateDirectory, wanted: Wanted<'_>) -> bool {
    std::fs::read(state.file(IDENTITY)).is_ok_and(|bytes| fits(&bytes, wanted))
}

fn fits(bytes: &[u8], wanted: Wanted<'_>) -> bool {
    let kept = || {
        let kept: Kept = serde_json::from_slice(bytes).ok()?;
        let certificate = STANDARD.decode(kept.chain.first()?).ok()?;
        Some((Claims::of_verified(&certificate.into()).ok()?, kept))
    };
    kept().is_some_and(|(claims, kept)| {
        let account = claims.id.service_account.as_str();
        claims.id.namespace == *wanted.namespace
            && wanted.account.is_none_or(|wanted| wanted == account)
            && claims.not_after > SystemTime::now()
            && is_of_mesh(&kept, wanted.token)
    })
}

fn is_of_mesh(kept: &Kept, token: Option<&Path>) -> bool {
    let token = token.and_then(|token| std::fs::read_to_string(token).ok());
    let token = token.and_then(|text| text.trim().parse::<JoinToken>().ok());
    token.is_none_or(|token| {
        let decoded = |text: &String| STANDARD.decode(text).ok();
        let roots = kept.roots.iter().filter_map(decoded);
        let roots = roots.filter_map(|root| pin_of(&root));
        let former = kept.former_roots.iter().filter_map(decoded);
        let mut pins = roots.chain(former.map(|digest| hex(&digest)));
        pins.any(|pin| pin == token.pin())
    })
}

#[cfg(test)]
mod tests;
