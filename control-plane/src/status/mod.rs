//! What an operator is told about the mesh: which configuration is accepted, what was refused and why,
//! which instances there are, and which proxy runs what.
//!
//! Plain data that `usher status` reads back from JSON: the REST server writes it, nothing decides by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

mod callers;
mod object;

pub use callers::{CallerReport, CallersSummary};
pub use object::{ConditionReport, ConditionStatus, ObjectReport, ObjectsSummary, count};

/// Everything `usher status` shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// The accepted configuration.
    pub revision: RevisionStatus,
    /// The revision that is held, whatever the source says (`usher rollback`); `None`: configuration is as its source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<u64>,
    /// Objects that the source has otherwise, and that wait until the revision is released; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// Whose identities this mesh verifies.
    pub trust_domain: String,
    /// Objects whose newest text is not in force. Empty: everything that was written is running.
    pub rejected: Vec<RejectedObject>,
    /// Accepted objects that do not, or not wholly, have the effect their author may expect.
    pub conditions: Vec<Condition>,
    /// What became of all objects, counted; each: `GET /v1/objects`.
    #[serde(default)]
    pub objects: ObjectsSummary,
    /// By namespace and name.
    pub services: Vec<ServiceReport>,
    /// Who calls services without the mesh's TLS, counted; each: `GET /v1/callers`.
    #[serde(default)]
    pub plaintext_callers: CallersSummary,
    /// Connected now, by node. Of several control planes: to this one.
    pub proxies: Vec<ProxyReport>,
    /// The store that several control planes share; `None`: this one has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreReport>,
}

/// Whether the store that several control planes share answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StoreReport {
    /// Else what was known is served, and nothing can be changed.
    pub reachable: bool,
    /// RFC 3339; empty while it is reachable.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unreachable_since: String,
    /// What the last attempt ended with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A numbered configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// 0: nothing was accepted yet.
    pub number: u64,
    /// sha256 of the accepted configuration, hex.
    pub digest: String,
    /// RFC 3339; empty for revision 0.
    pub accepted_at: String,
    /// Objects added, changed or deleted by it, `Kind namespace/name`; at most 100 are kept. All: `usher history N`.
    pub changed: Vec<String>,
    /// How many they are; 0: an older version has not written down how many more than `changed`.
    #[serde(default)]
    pub changed_count: u32,
    /// `directory`, `apply`, `rollback to N` or `release`; empty when an older version made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// Whose command it was, as he said himself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Why, in his words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether it can be gone back to.
    #[serde(default)]
    pub restorable: bool,
}

/// An object whose newest text was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RejectedObject {
    /// `Kind namespace/name`; the file's path when the text does not even name an object.
    pub object: String,
    /// Whether an earlier version of it keeps running.
    pub last_good: bool,
    /// All of them, in the order of the text.
    pub mistakes: Vec<MistakeReport>,
}

/// One thing wrong in a text, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MistakeReport {
    /// `file:line:column`, counted from 1.
    pub at: String,
    /// The field's path in the object (`spec.timeouts.request`).
    pub path: String,
    /// What was found and what is allowed, one line.
    pub message: String,
}

/// Why an accepted object does not do all that it says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Kind namespace/name`.
    pub object: String,
    /// `Conflicted`, `TargetNotFound`, `RefNotResolved`, `RefNotPermitted`, `NotAllowedByListeners`,
    /// `NoMatchingListenerHostname`, `Shadowed`, `Unreachable`, `Loosens`, `TooLarge`, `NoAddress`, `Denies`, `LateFallback`,
    /// `SharedHeader`, `NoKeys`, `StaleKeys`,
    /// `Expired`, or, of proxies that are connected, `NotAdmitted`, `NoGateway`, `NotFollowed` and `NotEnforced`; of a store
    /// that is shared, `StoreSetBack` and `StoreUnreadable`; `Invalid` or `Warning` for what the text itself shows.
    pub reason: String,
    /// One line, naming every object involved.
    pub message: String,
}

/// A service and its instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Addresses that stand for all of it.
    pub virtual_addresses: Vec<IpAddr>,
    /// Port numbers callers use.
    pub ports: Vec<u16>,
    /// Who may answer as this service, or may call as this workload.
    pub identities: Vec<String>,
    /// No instances are expected: a Workload behind no Service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_calls: bool,
    /// There are no instances because all its connected sidecars were started without an application's port.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_port: bool,
    /// It has no instances and needs none: where its routes lead all its ports, `namespace/service`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leads_to: Vec<String>,
    /// By instance name.
    pub endpoints: Vec<EndpointReport>,
}

/// One registered instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EndpointReport {
    /// Unique in the service.
    pub instance: String,
    /// Its sidecar's inbound listener; its own where it has none.
    #[cfg_attr(test, schemars(with = "String"))]
    pub address: SocketAddr,
    /// Its sidecar's verdict on its application.
    pub healthy: bool,
    /// What the failing check got; empty when healthy, or when its sidecar did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub health_reason: String,
    /// Where it runs; empty when nobody said.
    pub zone: String,
    /// The configuration its sidecar said it runs, when it last renewed its lease.
    pub revision: u64,
    /// An EndpointSlice says that it is there; it has no sidecar, and is as healthy as the slice says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listed: bool,
}

/// One registered instance, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstanceReport {
    /// The namespace of its service.
    pub namespace: String,
    /// The service it is an instance of.
    pub service: String,
    /// The instance itself.
    #[serde(flatten)]
    pub endpoint: EndpointReport,
}

/// Something came, changed or went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChangeReport {
    /// Which of them.
    pub change: Change,
    /// The namespace of the service.
    pub namespace: String,
    /// The service, which is meant itself unless `instance` is there.
    pub service: String,
    /// Of a service: the port numbers callers use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Of a service: addresses that stand for all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_addresses: Vec<IpAddr>,
    /// The instance that it is about, as it is now or was when it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<EndpointReport>,
}

/// What has happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is new to who is told.
    Added,
    /// It is another than before: its address, ports, zone or health.
    Changed,
    /// It is gone, or of no interest to who is told any more.
    Removed,
}

/// A connected sidecar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProxyReport {
    /// `namespace/service/instance`, as the proxy says.
    pub node: String,
    /// Verified SPIFFE ID.
    pub identity: String,
    /// It registers no instance: it was started without an application's port.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_calls: bool,
    /// It is a gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gateway: bool,
    /// Services that it calls without following their routes for connections, as it is older than those
    /// (`namespace/service`). Becomes a condition.
    #[serde(skip)]
    pub ignores_streams_of: BTreeSet<String>,
    /// Services that it calls, or has called lately: `namespace/service`, whose changes it is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
    /// It looks at no tokens and counts no requests, as it is older than such policies. Becomes a condition.
    #[serde(skip)]
    pub ignores_guards: bool,
    /// It knows no access rules about claims, as it is older than those. Becomes a condition.
    #[serde(skip)]
    pub ignores_claims: bool,
    /// What it does otherwise than configured, in its own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The last revision it acknowledged; 0: none yet.
    pub revision: u64,
    /// It has acknowledged everything that concerns it in the current revision. A revision that changes nothing
    /// of what a proxy asked for is not sent to it, so `revision` may stay behind.
    pub up_to_date: bool,
    /// Its last refusal, until it acknowledges something newer.
    pub last_nack: Option<NackReport>,
    /// RFC 3339.
    pub connected_since: String,
    /// All changes up to this revision that concern it are applied by it, but those in `refuses`. Becomes a condition.
    #[serde(skip)]
    pub applied: u64,
    /// What it refused. Becomes a condition.
    #[serde(skip)]
    pub refuses: Refusals,
}

/// What of its configuration a proxy refuses and has in an older version: by name, `namespace/name`, since which revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Services that it calls.
    pub services: BTreeMap<String, u64>,
    /// What it should enforce.
    pub inbound: BTreeMap<String, u64>,
    /// Where it should listen.
    pub gateways: BTreeMap<String, u64>,
}

/// A configuration that a proxy refused. It keeps running its last good one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NackReport {
    /// The revision it refused.
    pub revision: u64,
    /// The proxy's words, cut to 1,000 characters.
    pub message: String,
    /// RFC 3339.
    pub at: String,
}
