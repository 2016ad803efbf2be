//! Objects as people write them: Gateway API's routes and core/v1's `Service`, and Usher's own kinds.
//!
//! One file per kind. A field is an `Option` where "not given" differs from every value, because policies of
//! wider scope show through field by field (Mesh < Namespace < Service < route rule). What holds when nobody
//! says anything is `TrafficPolicySpec::defaults` and the constants named `DEFAULT`, next to the reason.
//! `parse` is the only maker of objects from text; nothing here knows positions.

mod choice;
mod object;
mod reference;
mod matches;
mod filter;
mod mesh;
mod service;
mod workload;
mod endpoint_slice;
mod config_map;
mod gateway;
mod http_route;
mod grpc_route;
mod reference_grant;
mod stream_route;
mod backend_tls_policy;
mod traffic_policy;
mod load_balancer;
mod resilience;
mod access_policy;
mod authentication_policy;
mod fault_policy;
mod rate_limit_policy;

pub use access_policy::{
    AccessClaim, AccessFrom, AccessPolicySpec, AccessRule, AccessTo, DefaultAction, PathRule,
    ServiceAccount,
};
pub use authentication_policy::{
    AuthenticationMode, AuthenticationPolicySpec, ClaimToHeader, JwksSource, JwtProvider,
    TokenAlgorithm, TokenForward, TokenFrom,
};
pub use backend_tls_policy::{
    BackendTlsPolicySpec, BackendTlsValidation, CaCertificateRef, ConfigMapKind, SubjectAltName,
    SubjectAltNameType, WellKnownCa,
};
pub use choice::Choice;
pub use config_map::{CaCertificates, ConfigMapSpec};
pub use endpoint_slice::{
    AddressType, EndpointSliceSpec, SERVICE_NAME_LABEL, SliceConditions, SliceEndpoint, SlicePort,
};
pub use fault_policy::{FaultAbort, FaultAnswer, FaultDelay, FaultPolicySpec};
pub use filter::{
    BackendObject, Cors, Fraction, GrpcFilter, GrpcFilterType, HeaderModifier, HttpFilter,
    HttpFilterType, ModifiedHeader, PathModifier, PathModifierType, RedirectScheme, RequestMirror,
    RequestRedirect, UrlRewrite, reserved_header,
};
pub use gateway::{
    AllowedRoutes, CertificateRef, FromNamespaces, GatewayClass, GatewayGroup, GatewaySpec,
    Listener, ListenerProtocol, ListenerTls, NamespaceSelector, RouteGroupKind, RouteKind,
    RouteNamespaces, SecretKind, SelectorExpression, SelectorOperator, TlsMode,
};
pub use grpc_route::{GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec};
pub use http_route::{
    HttpRouteMatch, HttpRouteRetry, HttpRouteRule, HttpRouteSpec, HttpRouteTimeouts,
};
pub use load_balancer::{Algorithm, HashKey, LoadBalancer, SlowStart, ZonePreference, Zones};
pub use matches::{
    GrpcMethodMatch, HeaderMatch, HttpMethod, PathMatch, PathMatchType, QueryMatch, TextMatch,
    TextMatchType,
};
pub use mesh::{
    AccessLog, AccessLogMode, EmptySegments, MeshSpec, Mtls, MtlsMode, OutboundTraffic,
    PathParameters, Telemetry, Tracing, VirtualCidr,
};
pub use object::{Kind, Metadata, Object, ObjectKey, Resource};
pub use rate_limit_policy::{LimitKey, LimitWhen, RateLimit, RateLimitPolicySpec};
pub use reference::{
    BackendKind, BackendRef, CoreGroup, GrpcBackendRef, HttpBackendRef, MESH_NAMESPACE,
    ParentGroup, ParentKind, ParentRef, PolicyKind, ServiceRef, TargetKind, TargetRef,
};
pub use reference_grant::{GrantFrom, GrantTo, Granted, ReferenceGrantSpec, grant_for};
pub use resilience::{
    Breaker, BreakerMode, BreakerScope, Ejection, Fallback, FallbackTarget, FallbackWhen, Forced,
    ResponseHeader, StaticResponse, SuccessRate,
};
pub use service::{AppProtocol, ServicePort, ServiceSpec, Transport};
pub use stream_route::{StreamRule, TcpRouteSpec, TlsRouteSpec};
pub use traffic_policy::{
    Backoff, Budget, GrpcStatus, Limits, MinRetryRate, PerEndpointLimits, Retry, Timeouts,
    TrafficPolicySpec,
};
pub use workload::{HealthCheck, HealthProbe, WorkloadSpec};

/// See [`MeshSpec`].
pub type Mesh = Resource<MeshSpec>;
/// See [`ServiceSpec`].
pub type Service = Resource<ServiceSpec>;
/// See [`WorkloadSpec`].
pub type Workload = Resource<WorkloadSpec>;
/// See [`EndpointSliceSpec`].
pub type EndpointSlice = Resource<EndpointSliceSpec>;
/// See [`ConfigMapSpec`].
pub type ConfigMap = Resource<ConfigMapSpec>;
/// See [`GatewaySpec`].
pub type Gateway = Resource<GatewaySpec>;
/// See [`HttpRouteSpec`].
pub type HttpRoute = Resource<HttpRouteSpec>;
/// See [`GrpcRouteSpec`].
pub type GrpcRoute = Resource<GrpcRouteSpec>;
/// See [`ReferenceGrantSpec`].
pub type ReferenceGrant = Resource<ReferenceGrantSpec>;
/// See [`TlsRouteSpec`].
pub type TlsRoute = Resource<TlsRouteSpec>;
/// See [`TcpRouteSpec`].
pub type TcpRoute = Resource<TcpRouteSpec>;
/// See [`BackendTlsPolicySpec`].
pub type BackendTlsPolicy = Resource<BackendTlsPolicySpec>;
/// See [`TrafficPolicySpec`].
pub type TrafficPolicy = Resource<TrafficPolicySpec>;
/// See [`AccessPolicySpec`].
pub type AccessPolicy = Resource<AccessPolicySpec>;
/// See [`AuthenticationPolicySpec`].
pub type AuthenticationPolicy = Resource<AuthenticationPolicySpec>;
/// See [`FaultPolicySpec`].
pub type FaultPolicy = Resource<FaultPolicySpec>;
/// See [`RateLimitPolicySpec`].
pub type RateLimitPolicy = Resource<RateLimitPolicySpec>;

#[cfg(test)]
mod tests;
