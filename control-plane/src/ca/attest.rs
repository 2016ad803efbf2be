//! `usher.v1.Authority`: a proof comes in, an SVID goes out.
//!
//! `Attest` takes a token from a caller without a certificate: a join token, or that of a Kubernetes service account;
//! `Renew` takes the caller's own unexpired SVID, proven by the handshake. The identity is always the proof's, never something
//! the request says; and nobody is signed for whom configuration no longer declares, so that a deleted Workload's identity
//! ends with its last SVID.

use std::{
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use time::OffsetDateTime;
use tokio::{sync::Semaphore, time::timeout};
use tonic::{Request, Response, Status};
use tracing::{info, warn};
use usher_config::{
    value::{Name, SpiffeId},
    wire::v1::{self, authority_server},
};

use super::{
    Authority, Grounds, Peer,
    authority::IssueError,
    limits::{Limits, Rate},
    service_account::{self, NotReviewed, Reviewed, Reviews},
    svid::ProvenKey,
    token::{JoinToken, Refusal, Subject, TokenStore},
};
use crate::telemetry::metrics::{CaMetrics, Proof};

/// Largest request, in bytes: a CSR and a token.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Questions about service accounts' tokens at once: anybody who reaches the port can make us ask, and the API server has more
/// to do.
const REVIEWS_MAX: usize = 16;

/// How long such a question may take, its turn included. Whoever waits for longer asks again, with a pause.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(8);

/// Whether configuration has a Workload with this namespace and service account.
pub type Declares = Arc<dyn Fn(&Name, &Name) -> bool + Send + Sync>;

/// Serves `usher.v1.Authority`.
pub struct AuthorityService {
    declares: Declares,
    authority: Arc<Authority>,
    tokens: Arc<TokenStore>,
    metrics: Arc<CaMetrics>,
    /// `None`: this mesh is on no cluster.
    reviews: Option<Arc<dyn Reviews>>,
    /// Questions to the API server at once.
    asking: Semaphore,
    since: Instant,
    by_identity: Arc<Mutex<Limits<SpiffeId>>>,
    /// Of renewals by one identity from one address.
    by_place: Mutex<Limits<(SpiffeId, IpAddr)>>,
    /// Of refused requests only: many sidecars may be behind one address.
    refused_from: Mutex<Limits<IpAddr>>,
}

impl AuthorityService {
    /// A service that signs with `authority` for holders of `tokens`, as long as configuration `declares` them.
    pub fn new(
        declares: Declares,
        authority: Arc<Authority>,
        tokens: Arc<TokenStore>,
        metrics: Arc<CaMetrics>,
    ) -> Self {
        Self {
            declares,
            authority,
            tokens,
            metrics,
            reviews: None,
            asking: Semaphore::new(REVIEWS_MAX),
            since: Instant::now(),
            by_identity: Arc::new(Mutex::new(Limits::new(Rate::IDENTITY))),
            by_place: Mutex::new(Limits::new(Rate::PLACE)),
            refused_from: Mutex::new(Limits::new(Rate::IDENTITY)),
        }
    }

    /// The same, which also signs for whom `reviews` knows by a service account's token.
    #[must_use]
    pub fn with_reviews(mut self, reviews: Arc<dyn Reviews>) -> Self {
        self.reviews = Some(reviews);
        self
    }

    /// A refused request has cost a signature's verification: an address that gets many refusals has to wait.
    fn may_ask(&self, address: Option<IpAddr>) -> Result<(), Status> {
        let limits = lock(&self.refused_from);
        match address {
            Some(address) if limits.is_empty(&address, self.since.elapsed()) => {
                Err(Status::resource_exhausted(
                    "too many requests from this address were refused: try again in a second",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn note_refusal<T>(&self, address: Option<IpAddr>, result: &Result<T, Status>) {
        use tonic::Code;
        if let (Some(address), Err(status)) = (address, result)
            && matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument)
        {
            let _ = lock(&self.refused_from).take(&address, self.since.elapsed());
        }
    }

    fn sign(
        &self,
        id: &SpiffeId,
        key: &ProvenKey,
        grounds: Grounds<'_>,
    ) -> Result<v1::SvidResponse, Status> {
        let svid = self
            .authority
            .issue(id, key, OffsetDateTime::now_utc(), grounds)
            .map_err(|error| {
                warn!(identity = %id, %error, "svid not issued");
                not_issued(&error)
            })?;
        let bundle = self.authority.trust_bundle();
        Ok(v1::SvidResponse {
            chain_der: svid.chain.iter().map(|der| der.to_vec()).collect(),
            spiffe_id: id.to_string(),
            trust_domain: bundle.trust_domain.to_string(),
            roots_der: bundle.roots,
            bundle_version: bundle.version,
        })
    }

    async fn attest_join_token(
        &self,
        address: Option<IpAddr>,
        request: v1::AttestRequest,
    ) -> Result<v1::SvidResponse, Status> {
        let token: JoinToken = request
            .join_token
            .parse()
            .map_err(|error| Status::invalid_argument(format!("not a join token: {error}")))?;
        // Before the token: a use is not spent on a request that cannot be signed.
        let key = proven_key(&request.csr_der)?;
        self.authority
            .can_issue(OffsetDateTime::now_utc())
            .map_err(|error| not_issued(&error))?;
        let (tokens, presented) = (Arc::clone(&self.tokens), token.clone());
        let now = SystemTime::now();
        let declares = Arc::clone(&self.declares);
        let trust_domain = self.authority.trust_domain().clone();
        let (limits, since) = (Arc::clone(&self.by_identity), self.since);
        let redeem = move || {
            // Whether it comes too soon is known before a use is spent.
            let mut too_soon = Ok(());
            let redeemed = tokens.redeem(&presented, now, |subject: &Subject| {
                let (namespace, account) = (&subject.namespace, &subject.service_account);
                let id = SpiffeId::new(trust_domain.clone(), namespace.clone(), account.clone());
                let declared = (declares)(namespace, account);
                if declared {
                    too_soon = may_have(&limits, (&id, id.clone()), since.elapsed());
                }
                declared && too_soon.is_ok()
            });
            too_soon.map(|()| redeemed)
        };
        let subject = tokio::task::spawn_blocking(redeem)
            .await
            .map_err(|_| Status::internal("the token check was stopped"))??
            .map_err(|refusal| {
                warn!(token = token.id(), reason = %refusal, "join token refused");
                refused(&refusal)
            })?;
        let trust_domain = self.authority.trust_domain().clone();
        let id = SpiffeId::new(trust_domain, subject.namespace, subject.service_account);
        let grounds = Grounds::Token {
            token: token.id(),
            address,
        };
        let response = self.sign(&id, &key, grounds)?;
        info!(identity = %id, token = token.id(), "workload attested");
        Ok(response)
    }

    async fn attest_service_account(
        &self,
        address: Option<IpAddr>,
        request: v1::AttestRequest,
    ) -> Result<v1::SvidResponse, Status> {
        let Some(reviews) = &self.reviews else {
            return Err(Status::unauthenticated(
                "this control plane is on no Kubernetes cluster (`usher serve --kubernetes`), so it knows no service accounts: use a \
                 join token",
            ));
        };
        let token = request.service_account_token;
        service_account::look(&token, SystemTime::now())
            .map_err(|misfit| Status::unauthenticated(misfit.to_string()))?;
        // Before anybody is asked: what cannot be signed is not worth it.
        let key = proven_key(&request.csr_der)?;
        self.authority
            .can_issue(OffsetDateTime::now_utc())
            .map_err(|error| not_issued(&error))?;
        let review = async {
            // Never closed; without the permit it is only one more question.
            let _turn = self.asking.acquire().await;
            reviews.review(&token).await
        };
        let reviewed = timeout(REVIEW_TIMEOUT, review)
            .await
            .map_err(|_| {
                Status::unavailable("the API server did not say in time whose the token is")
            })?
            .map_err(|error| {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "service account's token not accepted"
                );
                not_reviewed(&error)
            })?;
        let Reviewed { subject, pod } = reviewed;
        if !(self.declares)(&subject.namespace, &subject.service_account) {
            let refusal = Refusal::Undeclared(subject);
            warn!(reason = %refusal, "service account's token refused");
            return Err(refused(&refusal));
        }
        let trust_domain = self.authority.trust_domain().clone();
        let id = SpiffeId::new(trust_domain, subject.namespace, subject.service_account);
        may_have(&self.by_identity, (&id, id.clone()), self.since.elapsed())?;
        let pod = pod.as_deref();
        let response = self.sign(&id, &key, Grounds::ServiceAccount { pod, address })?;
        info!(identity = %id, pod, "workload attested");
        Ok(response)
    }

    fn renew_inner(
        &self,
        peer: Option<Peer>,
        request: &v1::RenewRequest,
    ) -> Result<v1::SvidResponse, Status> {
        let peer = peer.unwrap_or_default();
        let address = peer.address;
        let Some(id) = peer.identity else {
            return Err(Status::unauthenticated(
                "renewal needs the identity that is renewed, as this connection's client certificate",
            ));
        };
        let is_trusted = |root: &Arc<str>| self.authority.roots().get(root).is_some();
        if !peer.root.as_ref().is_none_or(is_trusted) {
            return Err(Status::unauthenticated(
                "the root under which this identity was signed is no longer trusted: attest again with a join token",
            ));
        }
        let key = proven_key(&request.csr_der)?;
        if !(self.declares)(&id.namespace, &id.service_account) {
            let (namespace, service_account) = (id.namespace, id.service_account);
            let refusal = Refusal::Undeclared(Subject {
                namespace,
                service_account,
            });
            warn!(reason = %refusal, "renewal refused");
            return Err(refused(&refusal));
        }
        // One that has gone mad, or is another's by now, does not take what its siblings need.
        let now = self.since.elapsed();
        if let Some(address) = address {
            may_have(&self.by_place, (&id, (id.clone(), address)), now)?;
        }
        may_have(&self.by_identity, (&id, id.clone()), now)?;
        self.sign(&id, &key, Grounds::Svid { address })
    }
}

#[tonic::async_trait]
impl authority_server::Authority for AuthorityService {
    async fn attest(
        &self,
        request: Request<v1::AttestRequest>,
    ) -> Result<Response<v1::SvidResponse>, Status> {
        let peer = request.extensions().get::<Peer>();
        let address = peer.and_then(|peer| peer.address);
        self.may_ask(address)?;
        let request = request.into_inner();
        let (proof, result) = match (
            request.join_token.is_empty(),
            request.service_account_token.is_empty(),
        ) {
            (true, false) => (
                Proof::ServiceAccount,
                self.attest_service_account(address, request).await,
            ),
            (_, true) => (Proof::Token, self.attest_join_token(address, request).await),
            (false, false) => {
                let message = "found a join token and a service account's, allowed: one of them";
                (Proof::Token, Err(Status::invalid_argument(message)))
            }
        };
        self.note_refusal(address, &result);
        self.metrics.count(proof, &result);
        result.map(Response::new)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::SvidResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let result = self.renew_inner(peer, request.get_ref());
        self.metrics.count(Proof::Svid, &result);
        result.map(Response::new)
    }
}

/// One certificate more for `id`.
fn may_have<K: Clone + Eq + Hash>(
    limits: &Mutex<Limits<K>>,
    (id, key): (&SpiffeId, K),
    now: Duration,
) -> Result<(), Status> {
    lock(limits).take(&key, now).map_err(|wait| {
        let message = format!(
            "{id} has asked for too many certificates: try again in {} ms",
            wait.as_millis().max(1)
        );
        warn!(identity = %id, "too many certificates asked for");
        Status::resource_exhausted(message)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_issued(error: &IssueError) -> Status {
    match error {
        // Not the caller's fault, and over when there is room again.
        IssueError::NotRecorded { .. } | IssueError::NoIssuer | IssueError::IssuerEnded { .. } => {
            Status::unavailable(error.to_string())
        }
        IssueError::OtherTrustDomain { .. } | IssueError::Sign(_) => {
            Status::failed_precondition(error.to_string())
        }
    }
}

fn proven_key(csr_der: &[u8]) -> Result<ProvenKey, Status> {
    ProvenKey::from_csr(csr_der).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn not_reviewed(error: &NotReviewed) -> Status {
    match error {
        NotReviewed::Refused(_) | NotReviewed::NoServiceAccount(_) => {
            Status::unauthenticated(error.to_string())
        }
        NotReviewed::Unreachable(_) | NotReviewed::NotAllowed(_) => {
            Status::unavailable(error.to_string())
        }
    }
}

fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::NotKnown | Refusal::Expired | Refusal::Spent | Refusal::OtherMesh => {
            Status::unauthenticated(refusal.to_string())
        }
        // Not final: whoever starts an instance may be about to write its Workload.
        Refusal::Undeclared(_) => Status::failed_precondition(refusal.to_string()),
        Refusal::Store(_) => Status::unavailable(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests;
