//! One attempt: the request as this attempt sends it, to one endpoint, within its time.

use std::{cell::Cell, net::SocketAddr, pin::pin, rc::Rc, time::Duration};

use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use tokio::time::timeout;
use usher_config::model::Protocol;

use crate::{
    clock::{self, Tick},
    error::ProxyError,
    http::{
        Body, Replay,
        headers::{self, REASON},
        peek::peek,
        silence,
    },
    policy::{
        retry::ATTEMPT,
        timeout::{self as deadline, Deadline},
    },
    snapshot::PortEntry,
    worker::{Record, Worker, grpc_status},
};

use super::{
    call::{Outgoing, Plan},
    dial::{self, Callee, Version},
    judge::{Attempted, Headed, Said, judge},
};

/// Who is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aim<'a> {
    pub plan: &'a Plan,
    pub port: &'a PortEntry,
    /// The endpoint's.
    pub position: usize,
    /// It decides whether an ejected endpoint or an open breaker comes back: somebody waits for the verdict.
    pub decides: bool,
}

/// Makes the attempt and judges it. Also says when its response had begun: what comes later is not its endpoint's time.
pub(super) async fn attempt(
    worker: &Rc<Worker>,
    aim: Aim<'_>,
    outgoing: &Outgoing,
    record: &mut Record,
    number: u32,
) -> (Attempted, Tick) {
    let Aim { plan, port, .. } = aim;
    let now = clock::now();
    let lost = |what| (Attempted::over(ProxyError::Internal { what }), now);
    let policy = &plan.treatment.policy;
    let Some(endpoint) = plan.target.endpoints.get(aim.position) else {
        return lost("chosen endpoint is not in its snapshot");
    };
    let address = endpoint.model.address;
    record.attempt(address, now);
    let limit = outgoing
        .deadline
        .attempt(policy.timeouts.backend_request, now);
    let Some(mut request) = outgoing.request(number, now) else {
        return lost("a body was repeated that is gone");
    };
    let callee = Callee {
        service: &plan.target,
        port,
        endpoint,
        connect: policy.timeouts.connect,
    };
    let begun = Cell::new(None);
    let exchange = pin!(async {
        // A port's own TLS goes first: what asks for it is called meshed too, for proxies that know of no other.
        let response = if endpoint.model.meshed && port.tls.is_none() {
            dial::through_mesh(worker, callee, &mut request, record).await?
        } else {
            let version = version(plan, outgoing.traits.grpc);
            // Nobody there takes out what is the mesh's own affair.
            headers::remove_ours(request.headers_mut(), &[]);
            let interim = &record.interim;
            let answer = dial::without_sidecar(worker, callee, version, &mut request, interim);
            let mut response = answer.await?;
            // Only a sidecar takes such words out of what its application says.
            headers::remove_ours(response.headers_mut(), &[]);
            response
        };
        begun.set(Some(clock::now()));
        if holds_back(aim, outgoing, &response) {
            first_frame(response).await
        } else {
            Ok(Headed::of(response))
        }
    });
    let idle = silence::within(policy.timeouts.idle, limit);
    let exchange = silence::unless_idle(exchange, idle, outgoing.body.as_ref());
    let result = match limit {
        None => exchange.await,
        Some(limit) => match timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(outgoing.timed_out(plan, address, limit)),
        },
    };
    let ended = clock::now();
    let attempted = judge(result, aim, outgoing, ended.since(now));
    (attempted, begun.get().unwrap_or(ended))
}

impl Outgoing {
    /// The request as this attempt sends it; `None`: its body is gone.
    fn request(&self, number: u32, now: Tick) -> Option<Request<Body>> {
        let body = match &self.body {
            None => Body::Empty,
            Some(replay) => Body::Replay(replay.attempt()?),
        };
        let mut request = Request::from_parts(self.head.clone(), body);
        let headers = request.headers_mut();
        let number = number + u32::from(self.traits.nested);
        let number = if number == 1 {
            HeaderValue::from_static("1")
        } else {
            HeaderValue::from(number)
        };
        headers.insert(ATTEMPT, number);
        deadline::write(headers, self.deadline.remaining(now), self.traits.grpc);
        Some(request)
    }

    /// The endpoint's sidecar gave up just before we would have: the deadline that it was told is ours.
    pub(super) fn expired_further_on(
        &self,
        plan: &Plan,
        response: &Response<Body>,
    ) -> Option<ProxyError> {
        let reason = response.headers().get(REASON)?.as_bytes();
        let is_ours = self.deadline != Deadline::None && reason.starts_with(b"DE ");
        is_ours.then(|| self.expired(plan))
    }

    /// The endpoint's sidecar gave up because our caller is silent.
    pub(super) fn silent_further_on(&self, response: &Response<Body>) -> bool {
        let reason = response.headers().get(REASON);
        self.waits_for_caller()
            && reason.is_some_and(|reason| reason.as_bytes().starts_with(b"SI "))
    }

    fn waits_for_caller(&self) -> bool {
        self.body.as_ref().is_some_and(Replay::waits_for_caller)
    }

    /// Whether it was ended for lack of time that its endpoint never had: its caller allowed less than a slow answer
    /// takes, or still owes us its body. Neither says that an endpoint or a dependency is unwell.
    pub(super) fn excuses(&self, error: &ProxyError, plan: &Plan, lasted: Duration) -> bool {
        let allowed = match error {
            ProxyError::DeadlineExpired => lasted,
            ProxyError::RequestTimeout { .. }
            | ProxyError::AttemptTimeout { .. }
            | ProxyError::StreamIdle { .. } => Duration::MAX,
            _ => return false,
        };
        let breaker = plan.treatment.policy.breaker.as_ref();
        let slow = breaker.map_or(SLOW, |breaker| breaker.slow_call);
        allowed < slow || self.waits_for_caller()
    }

    fn timed_out(&self, plan: &Plan, endpoint: SocketAddr, limit: Duration) -> ProxyError {
        match self.deadline {
            Deadline::At { tick, .. } if tick <= clock::now() => self.expired(plan),
            Deadline::At { .. } | Deadline::None | Deadline::Expired => {
                ProxyError::AttemptTimeout { endpoint, limit }
            }
        }
    }
}

/// What is slow where no breaker says it: a breaker's default.
const SLOW: Duration = Duration::from_secs(2);

/// Without a sidecar the endpoint's own protocol counts; undeclared, the request's.
fn version(plan: &Plan, grpc: bool) -> Version {
    match plan
        .target
        .model
        .port(plan.port.get())
        .map(|port| port.protocol)
    {
        Some(Protocol::Http2 | Protocol::Grpc) => Version::Http2,
        Some(Protocol::Detect) | None if grpc => Version::Http2,
        Some(Protocol::Detect | Protocol::Http1 | Protocol::Tcp) | None => Version::Http1,
    }
}

/// Whether the trailers could still make us ask somebody else, or decide what must be decided soon.
fn holds_back(aim: Aim<'_>, outgoing: &Outgoing, response: &Response<Body>) -> bool {
    let policy = &aim.plan.treatment.policy;
    let retried = !policy.retry.grpc_statuses.is_empty() && outgoing.traits.repeatable();
    let replaced = policy
        .fallback
        .as_ref()
        .is_some_and(|fallback| fallback.on_exhausted);
    let matters = retried || replaced || aim.decides;
    outgoing.traits.grpc && matters && grpc_status(response.headers()).is_none()
}

/// How long headers are held back for what may only be said in trailers: an answer that fails at once is caught,
/// and a stream that begins with silence (a watch) reaches its caller.
const HELD_MAX: Duration = Duration::from_secs(1);

async fn first_frame(response: Response<Body>) -> Result<Headed, ProxyError> {
    let (head, mut body) = response.into_parts();
    let trailers = match timeout(HELD_MAX, peek(&mut body)).await {
        Ok(peeked) => peeked?,
        Err(_) => None,
    };
    Ok(Headed {
        under_way: trailers.is_none() && !body.is_end_stream(),
        said: trailers.as_ref().and_then(Said::by),
        response: Response::from_parts(head, body),
    })
}
