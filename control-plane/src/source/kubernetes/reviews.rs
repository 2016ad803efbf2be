//! Whose a service account's token is: the API server says it (TokenReview, `authentication.k8s.io/v1`).

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, Error, api::PostParams};

use crate::ca::service_account::{AUDIENCE, NotReviewed, Reviewed, Reviews, subject};

/// What the API server says of the pod that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Asks the API server. Needs the right to create TokenReviews (the ClusterRole `system:auth-delegator`).
pub struct TokenReviews(Api<TokenReview>);

impl TokenReviews {
    /// By this client.
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

#[tonic::async_trait]
impl Reviews for TokenReviews {
    async fn review(&self, token: &str) -> Result<Reviewed, NotReviewed> {
        let question = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let answer = self.0.create(&PostParams::default(), &question).await;
        let answer = answer.map_err(unanswered)?;
        reviewed(answer.status.unwrap_or_default())
    }
}

fn unanswered(error: Error) -> NotReviewed {
    match error {
        Error::Api(status) if status.code == 403 => NotReviewed::NotAllowed(status.message),
        error => NotReviewed::Unreachable(Box::new(error)),
    }
}

/// What an answer means. Pure.
fn reviewed(status: TokenReviewStatus) -> Result<Reviewed, NotReviewed> {
    if status.authenticated != Some(true) {
        let why = status.error.filter(|why| !why.is_empty());
        let why =
            why.unwrap_or_else(|| "it is not signed by this cluster, or no longer good".to_owned());
        return Err(NotReviewed::Refused(why));
    }
    // One that knows nothing of audiences says yes to whatever is good for itself.
    let audiences = status.audiences.unwrap_or_default();
    if !audiences.iter().any(|audience| audience == AUDIENCE) {
        return Err(NotReviewed::Refused(format!(
            "it is not for the audience {AUDIENCE}"
        )));
    }
    let user = status.user.unwrap_or_default();
    let subject = subject(&user.username.unwrap_or_default())?;
    let extra: BTreeMap<String, Vec<String>> = user.extra.unwrap_or_default();
    let pod = extra.get(POD_NAME).and_then(|names| names.first().cloned());
    Ok(Reviewed { subject, pod })
}

#[cfg(test)]
mod tests;
