//! `RateLimitPolicy`: how many requests a service, or a gateway's route, takes in a time.
//!
//! Counted in each process that enforces it: a service's sidecars each for themselves, a gateway's processes likewise.
//! Three instances that take 100 a second each are a service that takes 300.

use std::collections::BTreeMap;

use http::HeaderName;
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::value::{Name, Timespan};

use super::{HeaderMatch, HttpMethod, PathRule, TargetRef};

/// Limits on requests, enforced where they arrive: by the called service's own sidecars, or by a gateway. What exceeds one is
/// answered with 429 (gRPC: RESOURCE_EXHAUSTED) before the application sees it. Opaque TCP has no requests and is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RateLimitPolicySpec {
    /// What it is attached to (Mesh, Namespace, Service, Gateway, HTTPRoute or GRPCRoute, or a rule of one); at least one.
    /// Of Mesh, Namespace and Service the narrowest holds alone, each service counting for itself. A route's holds at the
    /// gateways that the route hangs on, and beside the Gateway's own: they may have different owners.
    pub target_refs: Vec<TargetRef>,
    /// Counts what would be refused, refuses nothing. Default false.
    pub dry_run: Option<bool>,
    /// A request has to be within all that are about it; one that is refused counts in none. At least one, at most 16.
    pub limits: Vec<RateLimit>,
}

/// So many in a time, of each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RateLimit {
    /// For metrics and answers; unique in the policy.
    pub name: Name,
    /// How many, 1–1000000.
    pub requests: u32,
    /// In how long, 1 ms – 24 h. They come evenly: 60 in a minute are one a second, once the burst is used up.
    pub per: Timespan,
    /// How many may come at once after a pause, 1–1000000. Default `requests`: whoever has been quiet for all of `per` has
    /// all of them. 1 allows no two closer together than the rate. No more than come back within 30 days.
    pub burst: Option<u32>,
    /// What is counted apart, all of these together making one key. A request without the header or claim has a key like
    /// any other, shared with all that lack it. Default none: all requests together. At most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<LimitKey>,
    /// How many keys are remembered at once, 16–100000. Default 10000, which takes about 1 MB. Beyond, the key that has most
    /// nearly its whole burst again is forgotten, and begins with a full one when it comes back.
    pub max_keys: Option<u32>,
    /// Only these requests. Default all.
    #[serde(default)]
    pub when: LimitWhen,
}

impl RateLimit {
    /// Keys of one that does not say.
    pub const DEFAULT_MAX_KEYS: u32 = 10_000;
}

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema), schemars(rename_all = "camelCase"))]
pub enum LimitKey {
    /// The calling workload, by its certificate; all plaintext callers are one. Not at a gateway, whose callers have none.
    #[cfg_attr(test, schemars(transform = super::load_balancer::no_fields))]
    Identity {},
    /// The value of this header; of several, or beside one that is spelled alike (`x_a`, `x-a`), none. Whoever may write it
    /// can have as many keys as he likes.
    Header(#[cfg_attr(test, schemars(with = "String"))] HeaderName),
    /// The value of this claim of a token that an AuthenticationPolicy has verified.
    Claim(String),
    /// The path, normalised, without the query.
    #[cfg_attr(test, schemars(transform = super::load_balancer::no_fields))]
    Path {},
    /// The rule that takes the request. Only at a gateway.
    #[cfg_attr(test, schemars(transform = super::load_balancer::no_fields))]
    Route {},
    /// The caller's address; of IPv6 its first 64 bits, which is what one customer has. Only at a gateway: a sidecar is
    /// called by other sidecars.
    #[cfg_attr(test, schemars(transform = super::load_balancer::no_fields))]
    Source {},
}

impl Serialize for LimitKey {
    /// A mapping of one entry: as an enum, YAML would make a tag of its name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nothing = BTreeMap::<&str, &str>::new();
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Identity {} => map.serialize_entry("identity", &nothing),
            Self::Header(name) => map.serialize_entry("header", name.as_str()),
            Self::Claim(name) => map.serialize_entry("claim", name),
            Self::Path {} => map.serialize_entry("path", &nothing),
            Self::Route {} => map.serialize_entry("route", &nothing),
            Self::Source {} => map.serialize_entry("source", &nothing),
        }?;
        map.end()
    }
}

/// Which requests a limit is about: in each list any entry suffices (of `headers` all), an empty list asks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct LimitWhen {
    /// Any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<HttpMethod>,
    /// Any of these, as in an AccessPolicy: `/login` exactly, or `/v1/*` for `/v1` and everything below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathRule>,
    /// All of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
}
