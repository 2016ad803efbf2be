//! The part of `TrafficPolicy` that chooses an endpoint: by which rule, how new ones begin, and in which zone.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::value::{Percent, Timespan};

use super::choice::choice;
use super::traffic_policy::both;

/// How an endpoint is chosen. Holds for the whole service: what is written for a route has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct LoadBalancer {
    /// Default PeakEwma: it leaves slow endpoints alone without being told which are slow.
    pub algorithm: Option<Algorithm>,
    /// RingHash: what requests with the same value go to the same endpoint by, 1–8; the first that a request has
    /// counts, and one that has none goes anywhere. Default `[source]`.
    pub hash: Option<Vec<HashKey>>,
    /// How an endpoint begins that is new, or well again. Default: like any other. Of no effect with RingHash.
    pub slow_start: Option<SlowStart>,
    /// Which zone's endpoints come first. Default: zones make no difference.
    pub zones: Option<Zones>,
}

impl LoadBalancer {
    pub(super) fn over(&self, wider: &Self) -> Self {
        Self {
            algorithm: self.algorithm.or(wider.algorithm),
            hash: self.hash.as_ref().or(wider.hash.as_ref()).cloned(),
            slow_start: both(
                self.slow_start.as_ref(),
                wider.slow_start.as_ref(),
                SlowStart::over,
            ),
            zones: both(self.zones.as_ref(), wider.zones.as_ref(), Zones::over),
        }
    }
}

choice! {
    /// How an endpoint is chosen among the ready ones.
    pub enum Algorithm {
        /// Two at random, the one with less `ewma_rtt · (in_flight + 1)`.
        PeakEwma = "PeakEwma",
        /// Two at random, the one with fewer requests in flight.
        LeastRequest = "LeastRequest",
        /// One after the other, by weight.
        RoundRobin = "RoundRobin",
        /// The one that `hash` leads to: the same for the same value, as long as it is there.
        RingHash = "RingHash",
    }
}

/// What requests are kept together by.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema), schemars(rename_all = "camelCase"))]
pub enum HashKey {
    /// The value of this header.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this query parameter, as written in the URL.
    Query(String),
    /// Who calls: for a sidecar its own instance, for a gateway the client's address.
    #[cfg_attr(test, schemars(transform = no_fields))]
    Source {},
}

impl Serialize for HashKey {
    /// A mapping of one entry: as an enum, YAML would make a tag of its name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Header(name) => map.serialize_entry("header", name),
            Self::Cookie(name) => map.serialize_entry("cookie", name),
            Self::Query(name) => map.serialize_entry("query", name),
            Self::Source {} => map.serialize_entry("source", &BTreeMap::<&str, &str>::new()),
        }?;
        map.end()
    }
}

/// `source` and its like have no fields, and take none.
#[cfg(test)]
pub(super) fn no_fields(schema: &mut schemars::Schema) {
    let object = schema.as_object_mut();
    let fields = object
        .and_then(|schema| schema.get_mut("properties"))
        .and_then(|fields| fields.as_object_mut());
    for field in fields.into_iter().flat_map(|fields| fields.values_mut()) {
        if let Some(field) = field.as_object_mut() {
            field.insert("additionalProperties".to_owned(), false.into());
        }
    }
}

/// How an endpoint begins that is new, well again, or back from ejection: caches are cold, code is not compiled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SlowStart {
    /// How long until it has its whole share. Default 30 s; `0s` undoes what a wider policy says.
    pub window: Option<Timespan>,
    /// The share it begins with, 1–100. Default 10.
    pub min_percent: Option<Percent>,
}

impl SlowStart {
    /// The window of one that names none.
    pub const DEFAULT_WINDOW: Timespan = Timespan::seconds(30);
    /// The first share of one that names none.
    pub const DEFAULT_MIN_PERCENT: Percent = Percent::clamped(10);

    fn over(&self, wider: &Self) -> Self {
        Self {
            window: self.window.or(wider.window),
            min_percent: self.min_percent.or(wider.min_percent),
        }
    }
}

/// Which zone's endpoints come first: one's own, then those listed, then all others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Zones {
    /// Default Own: writing `zones` turns preference on.
    pub prefer: Option<ZonePreference>,
    /// Where requests go when one's own zone cannot take them, in this order; at most 16. Zones not listed come
    /// last, together. Default none.
    pub failover: Option<Vec<String>>,
    /// A zone comes first only while at least this share of its endpoints is well; below, it comes after those
    /// where it is. Default 50: the rest of a broken zone would be crushed by all of its load.
    pub min_ready_percent: Option<Percent>,
}

impl Zones {
    /// The share of one that names none.
    pub const DEFAULT_MIN_READY_PERCENT: Percent = Percent::clamped(50);

    fn over(&self, wider: &Self) -> Self {
        Self {
            prefer: self.prefer.or(wider.prefer),
            failover: self.failover.as_ref().or(wider.failover.as_ref()).cloned(),
            min_ready_percent: self.min_ready_percent.or(wider.min_ready_percent),
        }
    }
}

choice! {
    /// Which zone comes first.
    pub enum ZonePreference {
        /// The caller's own.
        Own = "Own",
        /// None: undoes what a wider policy says.
        Any = "Any",
    }
}
