//! Request → backends, as the compiler left it: sorted, defaults filled in.

use std::sync::Arc;

use http::{HeaderName, Method};

use crate::value::{Hostname, Name, Pattern, Port, ServiceName, Weight};

use super::{Filters, TrafficPolicy};

/// One match of one rule of an `HTTPRoute` or `GRPCRoute`. A rule with three matches is three routes, which share what
/// they have in common: a rule may hold megabytes, and there may be thousands of routes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// `kind/namespace/name/rule`, for logs, metrics and breaker scope. Rules by name, else by index.
    pub name: Arc<str>,
    /// Only for callers in this namespace (a consumer route), who then follow no other routes; `None`: for all.
    pub callers: Option<Name>,
    /// Ports of the parent service it applies to; empty means all.
    pub ports: Vec<Port>,
    /// Host names it applies to; empty means all.
    pub hostnames: Vec<Hostname>,
    /// What a request must look like.
    pub matches: Arc<RouteMatch>,
    /// What is done to it and to its answer.
    pub filters: Option<Arc<Filters>>,
    /// Where it goes, by weight. Empty, or all weights 0: 500 for every request that no filter answers.
    pub backends: Arc<[Backend]>,
    /// How it is treated on the way.
    pub policy: Arc<TrafficPolicy>,
}

/// All of these must hold; an empty one holds for every request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteMatch {
    /// Normalised path, without the query.
    pub path: PathMatch,
    /// `None`: any.
    pub method: Option<Method>,
    /// Each must be there and match; several values of one name are joined by `,`.
    pub headers: Vec<(HeaderName, TextMatch)>,
    /// Each must be there and match; of a repeated name the first counts.
    pub query: Vec<(String, TextMatch)>,
}

/// How a path is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// Byte for byte.
    Exact(String),
    /// Whole elements: `/a` covers `/a` and `/a/b`, not `/ab`. `/` covers everything.
    Prefix(String),
    /// All of the path.
    Regex(Pattern),
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".into())
    }
}

/// How a header or query value is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatch {
    /// Byte for byte.
    Exact(String),
    /// All of the value.
    Regex(Pattern),
}

/// Where connections go: one host name of a `TLSRoute`, or a `TCPRoute`.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRoute {
    /// `kind/namespace/name/rule`.
    pub name: Arc<str>,
    /// As [`Route::callers`].
    pub callers: Option<Name>,
    /// Ports of the parent service it applies to; empty means all. A gateway's routes have none: a listener has one.
    pub ports: Vec<Port>,
    /// By SNI; `None`: any.
    pub hostname: Option<Hostname>,
    /// By weight, for each connection.
    pub backends: Vec<Backend>,
}

/// A share of a route's requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Its share, relative to its siblings.
    pub weight: Weight,
    /// Where the share goes.
    pub target: BackendTarget,
    /// What is done to it alone, after the route's own filters.
    pub filters: Option<Arc<Filters>>,
}

/// Where a share of requests goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendTarget {
    /// To a service.
    Service(ServiceTarget),
    /// Nowhere: the reference could not be resolved; its share gets 500. Holds the reason.
    Invalid(String),
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceTarget {
    /// Which service.
    pub service: ServiceName,
    /// Which of its ports.
    pub port: Port,
}
