//! `Mesh`: what holds everywhere. There is at most one; without one, these defaults hold.

use std::{fmt, net::Ipv4Addr, str::FromStr};

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::value::{InvalidValue, Percent, TrustDomain};

use super::choice::choice;

/// The mesh as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct MeshSpec {
    /// The first part of every SPIFFE ID. Default `usher.local`: cannot clash with a public name. Changing it
    /// later renames every workload.
    pub trust_domain: Option<TrustDomain>,
    /// Where services off Kubernetes get their addresses from. Default 240.240.0.0/16: class E, which nobody
    /// routes.
    pub virtual_cidr: Option<VirtualCidr>,
    /// Whether plaintext is let in, where no policy says otherwise.
    #[serde(default)]
    pub mtls: Mtls,
    /// Lets narrower policies be laxer than wider ones in `mtls.mode` and `defaultAction`. Default false: a
    /// team cannot open what the platform closed.
    pub allow_loosening: Option<bool>,
    /// What becomes of connections that are intercepted on their way to nobody in the registry. Default
    /// PassThrough: an application must not lose its database on the day it joins the mesh. Says nothing about
    /// explicit calls, which only ever reach services.
    pub outbound_traffic: Option<OutboundTraffic>,
    /// What an empty segment in a request's path is (`//orders`). Default Merge: what is sent on, and what routes and
    /// policies look at, has none.
    pub empty_segments: Option<EmptySegments>,
    /// What parameters in a request's path are (`/orders;x`). Default Refuse: such a request is answered with 400.
    pub path_parameters: Option<PathParameters>,
    /// What sidecars write down.
    #[serde(default)]
    pub telemetry: Telemetry,
}

impl MeshSpec {
    /// The trust domain of a mesh that names none.
    pub const DEFAULT_TRUST_DOMAIN: &'static str = "usher.local";
}

choice! {
    /// Where intercepted connections may go.
    pub enum OutboundTraffic {
        /// Anywhere: to services through the mesh, to everybody else as they are. Refused is only an address of which
        /// nobody can say whose it is, because the control plane does not answer and never has about this one: it may
        /// be a service's, and what an application tells it must not travel in plaintext.
        PassThrough = "PassThrough",
        /// As PassThrough, and to such an address as well, in plaintext: for applications that keep calling new
        /// addresses outside, and had rather risk that than wait for a control plane.
        PassThroughUnknown = "PassThroughUnknown",
        /// To services of the registry only; other connections are refused. Only TCP is intercepted: UDP, and with it
        /// names and QUIC, still leaves. Large answers of DNS come by TCP: leave it out of the rules
        /// (`usher-proxy intercept install --exclude-outbound-ports 53`).
        RegistryOnly = "RegistryOnly",
    }
}

choice! {
    /// What `//` in a path means.
    pub enum EmptySegments {
        /// The same as `/`: nobody gets past a rule for `/orders` by calling `//orders`, which most applications take for
        /// the same.
        Merge = "Merge",
        /// A segment without a name, for applications that mean it, such as object stores with keys like `a//b`. A rule
        /// for `/orders` then says nothing about `//orders`: only where no application behind it takes both for one.
        Keep = "Keep",
    }
}

choice! {
    /// What `;` in a path means.
    pub enum PathParameters {
        /// Nobody knows: 400, encoded (`%3B`), too. Some frameworks (Java servlets, Spring) take `;` and what follows away
        /// before they look where `/orders;x` belongs, others do not, so it would get past somebody's rule for `/orders`.
        Refuse = "Refuse",
        /// Values for the application (`;jsessionid=`, matrix parameters), in the last segment only: sent on, but routes,
        /// policies and limits look at the path without them, as without its query. `%3B` is a letter
        /// like others, in the same place only.
        Keep = "Keep",
    }
}

/// Whether plaintext is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Mtls {
    /// Default Strict: what is in the mesh is spoken to through the mesh. A service that runs Permissive and is called in
    /// plaintext (`usher callers`) goes on taking it until nobody was let in for a day, or until it is forced (`usher apply --force`,
    /// `usher callers SERVICE --dismiss`); where its ports, its rules for callers without identity or its tokens change with the mode, it
    /// is Strict at once.
    pub mode: Option<MtlsMode>,
}

choice! {
    /// Whether plaintext is let in.
    pub enum MtlsMode {
        /// Mutual TLS only.
        Strict = "Strict",
        /// Plaintext too, counted and listed: for the days of a migration.
        Permissive = "Permissive",
    }
}

/// What sidecars write down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Telemetry {
    /// One line per request.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Traces that begin in the mesh.
    #[serde(default)]
    pub tracing: Tracing,
}

/// One line per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct AccessLog {
    /// Which requests get one. Default All.
    pub mode: Option<AccessLogMode>,
    /// Share of those that are written. Default 100.
    pub sample_percent: Option<Percent>,
}

/// Traces that begin in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Tracing {
    /// Share of requests without a trace that start one. Default 1: enough to see shapes, too little to cost.
    /// A trace that arrives is continued as its sender decided.
    pub sample_percent: Option<Percent>,
}

choice! {
    /// Which requests get an access log line.
    pub enum AccessLogMode {
        /// Each.
        All = "All",
        /// Status 500 and above, gRPC status other than 0, or any flag.
        Errors = "Errors",
        /// None.
        Off = "Off",
    }
}

/// A block of IPv4 addresses, /8 to /24, its first address written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VirtualCidr {
    base: Ipv4Addr,
    prefix: u8,
}

impl VirtualCidr {
    /// 240.240.0.0/16.
    pub const DEFAULT: Self = Self {
        base: Ipv4Addr::new(240, 240, 0, 0),
        prefix: 16,
    };

    /// The first address.
    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// How many leading bits are fixed, 8–24.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// How many addresses there are, 256 to 16,777,216.
    pub fn size(self) -> u32 {
        1 << (32 - u32::from(self.prefix))
    }

    /// Whether `address` is one of them.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & !(self.size() - 1) == u32::from(self.base)
    }
}

impl FromStr for VirtualCidr {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || {
            InvalidValue::new(
                text,
                "an IPv4 block from /8 to /24, first address first: 240.240.0.0/16",
            )
        };
        let (base, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let base = base.parse().map_err(|_| invalid())?;
        let prefix = prefix
            .parse()
            .ok()
            .filter(|prefix| (8..=24).contains(prefix))
            .ok_or_else(invalid)?;
        let cidr = Self { base, prefix };
        if cidr.contains(base) {
            Ok(cidr)
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for VirtualCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Serialize for VirtualCidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
impl JsonSchema for VirtualCidr {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VirtualCidr".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\d+\.\d+\.\d+\.\d+/\d+$" })
    }
}
