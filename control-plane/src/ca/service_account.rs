//! Tokens of Kubernetes service accounts: what they say of themselves, and who says whether it is so.
//!
//! A token is believed because the cluster's API server says that it is good now (TokenReview, `authentication.k8s.io/v1`): that it
//! signed it, for the audience [`AUDIENCE`], for a pod that is still there. What is looked at before is only what spares it
//! a question, and the sender a riddle; it is read without proof.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::token::Subject;

/// Whom tokens are for: one that was made for somebody else, such as the API server, says nothing to us, and one that we were shown
/// is of no use elsewhere.
pub const AUDIENCE: &str = "usher";

/// Longest token, in bytes: those of Kubernetes have about 1,200.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// How much our clocks may differ.
const SKEW: Duration = Duration::from_secs(60);

/// Who says whether a token is good.
#[tonic::async_trait]
pub trait Reviews: Send + Sync {
    /// Asks of a token, for the audience [`AUDIENCE`].
    ///
    /// # Errors
    /// [`NotReviewed`].
    async fn review(&self, token: &str) -> Result<Reviewed, NotReviewed>;
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The service account.
    pub subject: Subject,
    /// The pod that it is bound to, where that is said.
    pub pod: Option<String>,
}

/// Why nobody is known by a token.
#[derive(Debug, thiserror::Error)]
pub enum NotReviewed {
    /// It is not good.
    #[error("the service account's token is not accepted by the API server: {0}")]
    Refused(String),
    /// It is good, and somebody's who has no identity here: a user's, a node's.
    #[error(
        "the token is {0}'s, allowed: a service account's (system:serviceaccount:NAMESPACE:NAME)"
    )]
    NoServiceAccount(String),
    /// This control plane may not ask. Over when somebody lets it.
    #[error(
        "the API server does not let this control plane ask whose a service account's token is ({0}); its account needs the \
         right to create tokenreviews (config/kubernetes/cluster/rights.yaml, or the ClusterRole system:auth-delegator)"
    )]
    NotAllowed(String),
    /// There is no answer. Over when there is one.
    #[error("the API server was not reached to ask whose the service account's token is")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a token is not even asked about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It is something else.
    #[error(
        "found something else than a service account's token, allowed: a JSON web token of at most {TOKEN_BYTES_MAX} bytes"
    )]
    NoToken,
    /// It says that it is for others.
    #[error(
        "the service account's token is for the audience {}, allowed: {AUDIENCE} (a projected volume's serviceAccountToken with \
         `audience: {AUDIENCE}`, as `usher inject` writes it)", found.join(", ")
    )]
    Audience {
        /// For whom.
        found: Vec<String>,
    },
    /// It says that its time is over.
    #[error(
        "the service account's token has expired: read it anew from its volume, where Kubernetes renews it"
    )]
    Expired,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    aud: Audience,
    exp: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// Whether it is worth a question.
///
/// # Errors
/// [`Misfit`].
pub fn look(token: &str, now: SystemTime) -> Result<(), Misfit> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Misfit::NoToken);
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Misfit::NoToken);
    };
    let claims = URL_SAFE_NO_PAD.decode(claims);
    let claims = claims.map_err(|_| Misfit::NoToken)?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Misfit::NoToken)?;
    let found = match claims.aud {
        Audience::One(one) => vec![one],
        Audience::Several(all) => all,
    };
    // Without any it is for the API server alone.
    if !found.iter().any(|one| one == AUDIENCE) {
        return Err(Misfit::Audience {
            found: match found.is_empty() {
                true => vec!["of the API server".to_owned()],
                false => found,
            },
        });
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().saturating_sub(SKEW).as_secs_f64();
    match claims.exp {
        Some(exp) if exp < now => Err(Misfit::Expired),
        _ => Ok(()),
    }
}

/// The service account of a user's name, as Kubernetes writes it.
///
/// # Errors
/// [`NotReviewed::NoServiceAccount`].
pub fn subject(username: &str) -> Result<Subject, NotReviewed> {
    let other = || NotReviewed::NoServiceAccount(username.to_owned());
    let rest = username.strip_prefix("system:serviceaccount:");
    let (namespace, account) = rest
        .and_then(|rest| rest.split_once(':'))
        .ok_or_else(other)?;
    Ok(Subject {
        namespace: namespace.parse().map_err(|_| other())?,
        service_account: account.parse().map_err(|_| other())?,
    })
}

#[cfg(test)]
mod tests;
