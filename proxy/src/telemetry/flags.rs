//! What each flag means: cause, who decided, what to do. Shown by `usher why` and the documentation.

use crate::error::Flag;

/// One line for people who found a flag in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What happened.
    pub cause: &'static str,
    /// Who decided that this request ends so.
    pub decided_by: &'static str,
    /// What helps.
    pub remedy: &'static str,
}

const fn line(cause: &'static str, decided_by: &'static str, remedy: &'static str) -> Explanation {
    Explanation {
        cause,
        decided_by,
        remedy,
    }
}

const CALLER: &str = "the caller's sidecar";
const EITHER: &str = "the sidecar that logs it";

/// The explanation of a flag.
#[allow(
    clippy::too_many_lines,
    reason = "a table: one row per flag, exhaustive by match"
)]
pub const fn explain(flag: Flag) -> Explanation {
    match flag {
        Flag::Uh => line(
            "no endpoint is registered, or all fail their own health check",
            CALLER,
            "see `usher instances SERVICE`; start an instance or mend its health check",
        ),
        Flag::Uf => line(
            "no connection to the endpoint, no TLS with it that verifies, or none from its sidecar to the application",
            EITHER,
            "see whether the instance runs, and whether its sidecar does, is reachable, and has the expected identity; without a sidecar, what its BackendTLSPolicy asks for",
        ),
        Flag::Uo => line(
            "a limit of the traffic policy is reached",
            CALLER,
            "raise `limits` if the service can take more, else add instances",
        ),
        Flag::Nr => line(
            "the authority or its port names nothing in the mesh",
            CALLER,
            "call `name.namespace` with a port that the service declares",
        ),
        Flag::Nc => line(
            "the service, or a backend of its route, is not in the configuration",
            CALLER,
            "see `usher services` and the route's conditions; is the control plane reachable",
        ),
        Flag::Urx => line(
            "every allowed attempt failed",
            CALLER,
            "look at the service itself: its instances fail one after the other",
        ),
        Flag::Uc => line(
            "the upstream connection broke off during the response",
            EITHER,
            "look for crashes and restarts of the instance",
        ),
        Flag::Ur => line(
            "the upstream reset the stream before it answered",
            EITHER,
            "look at the instance's log at this moment",
        ),
        Flag::Lr => line(
            "an internal error of the proxy",
            EITHER,
            "report it with the proxy's log: an invariant does not hold",
        ),
        Flag::Ut => line(
            "no response in the time that policy allows",
            CALLER,
            "make the service faster, or allow more by `timeouts.request`",
        ),
        Flag::Dc => line(
            "the caller went away before the response was complete",
            "the caller",
            "compare the caller's own timeout with the response time",
        ),
        Flag::Dt => line(
            "the stream reached its longest life",
            EITHER,
            "raise `timeouts.streamMaxDuration`, or let the caller reconnect",
        ),
        Flag::Si => line(
            "nothing moved on the stream for too long",
            EITHER,
            "send keep-alives, or raise `timeouts.idle`",
        ),
        Flag::Dpe => line(
            "the request is malformed or ambiguous and may not be forwarded",
            EITHER,
            "mend the caller: `x-usher-reason` says what is wrong with the message",
        ),
        Flag::Upe => line(
            "what the endpoint sent is not HTTP, or exceeds bounds",
            EITHER,
            "compare the service's `appProtocol` with what it speaks",
        ),
        Flag::Bo => line(
            "the breaker of the service or route is open",
            CALLER,
            "see `usher breakers`; it closes by itself once the service answers again",
        ),
        Flag::Fb => line(
            "a fallback answered instead of the service",
            CALLER,
            "find out why the primary could not: the other flags of this line say it",
        ),
        Flag::De => line(
            "the caller's deadline had passed before the request came",
            EITHER,
            "look at the hops before: time was lost there, or the caller allows too little",
        ),
        Flag::Az => line(
            "an access policy or the mutual TLS mode refuses this caller",
            "the called service's sidecar",
            "see `usher authz check`; allow the caller in the AccessPolicy that `x-usher-reason` names",
        ),
        Flag::Rb => line(
            "a retry was due, but the retry budget is used up",
            CALLER,
            "many requests fail at once: mend the service; more retries would not help it",
        ),
        Flag::Cr => line(
            "a reused connection was closed under a request that may not be repeated",
            EITHER,
            "let the application keep idle connections longer than the proxy (3 s)",
        ),
        Flag::Di => line(
            "the request was delayed on purpose",
            "a FaultPolicy, at the caller's sidecar",
            "see the policy's name in the access log; it ends by itself, or when it is deleted",
        ),
        Flag::Fi => line(
            "the request was aborted on purpose",
            "a FaultPolicy, at the caller's sidecar",
            "see the policy's name in the access log; it ends by itself, or when it is deleted",
        ),
        Flag::Jw => line(
            "an authentication policy does not believe the request's token, or there is none",
            "the called service's sidecar, or the gateway",
            "`x-usher-reason` and WWW-Authenticate say what is wrong with it; see the AuthenticationPolicy that the log names",
        ),
        Flag::Rl => line(
            "a rate limit has no room for the request",
            "the called service's sidecar, or the gateway",
            "wait as long as `Retry-After` says; or raise the limit in the RateLimitPolicy that the access log names",
        ),
    }
}

#[cfg(test)]
mod tests;
