//! What is running: everything resolved, no names left to look up but the services a route leads to.
//!
//! The control plane's `compile` makes it from kinds, `wire` carries it, the proxy's snapshot holds it.
//! Every default is already filled in: the proxy has no defaults of its own for policy.

mod authentication;
mod backend_tls;
mod caller;
mod endpoint;
mod filter;
mod fault;
mod gateway;
mod inbound_policy;
mod load_balancer;
mod rate_limit;
mod route;
mod service;
mod traffic_policy;
mod trust;

pub use authentication::{Authentication, JwtProvider, TokenFrom};
pub use backend_tls::{AlternativeName, BackendTls, Origination, Roots};
pub use caller::{PlaintextCaller, PlaintextCallers};
pub use endpoint::Endpoint;
pub use fault::{Fault, FaultAnswer};
pub use filter::{Cors, Filters, HeaderEdits, Listed, Mirror, PathEdit, Redirect, Rewrite};
pub use gateway::{Gateway, GatewayRoute, Listener, ListenerProtocol};
pub use inbound_policy::{
    AccessLogMode, AccessPolicy, AccessRule, ClaimRule, HealthCheck, HealthProbe, InboundPolicy,
    MtlsMode, OutboundTraffic, PathRule, Telemetry,
};
pub use load_balancer::{Algorithm, HashKey, LoadBalancer, SlowStart, Zones};
pub use rate_limit::{LimitKey, LimitWhen, RateLimit, RateLimits};
pub use route::{
    Backend, BackendTarget, PathMatch, Route, RouteMatch, ServiceTarget, StreamRoute, TextMatch,
};
pub use service::{Protocol, Service, ServicePort};
pub use traffic_policy::{
    Breaker, BreakerMode, BreakerScope, Ejection, Fallback, FallbackTarget, Forced, Limits,
    PerEndpointLimits, Retry, RetryBudget, StaticResponse, SuccessRate, Timeouts, TrafficPolicy,
};
pub use trust::{Revision, TrustBundle};
