//! How values are written back as YAML, and described to editors: the text forms are said once, here.
//!
//! Reading is not here: `FromStr`/`TryFrom` of each type is the only way in, so that a mistake keeps its
//! position and its list of what is allowed, which serde would lose.

#[cfg(test)]
use std::borrow::Cow;
use std::time::Duration;

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::{
    Certificates, HeaderText, Hostname, InvalidValue, Name, OriginPattern, Pattern, Percent, Port,
    ServiceName, SpiffeId, TrustDomain, Weight, format_duration, parse_duration,
};

/// A length of time as configuration writes it (GEP-2257): `15s`, `1m30s`, `250ms`.
///
/// Distinct from [`Duration`] only so that it reads and writes itself in that form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timespan(pub Duration);

impl Timespan {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<Timespan> for Duration {
    fn from(timespan: Timespan) -> Self {
        timespan.0
    }
}

impl std::str::FromStr for Timespan {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        parse_duration(text).map(Self)
    }
}

impl Serialize for Timespan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(self.0))
    }
}

macro_rules! written_as {
    ($($type:ident: |$value:ident| $written:expr, $schema:tt;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                $written.serialize(serializer)
            }
        }
        described_as! { $type: $schema; }
    )*};
}

macro_rules! described_as {
    ($($type:ident: $schema:tt;)*) => {$(
        #[cfg(test)]
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

written_as! {
    Name: |name| name.as_str(), {
        "type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    };
    Hostname: |host| host.as_str(), {
        "type": "string", "maxLength": 253,
        "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    };
    ServiceName: |name| name.to_string(), { "type": "string", "pattern": "^[-a-z0-9]+/[-a-z0-9]+$" };
    SpiffeId: |id| id.as_str(), { "type": "string", "pattern": "^spiffe://[^/]+/ns/[^/]+/sa/[^/]+$" };
    TrustDomain: |domain| domain.as_str(), { "type": "string", "pattern": "^[a-z0-9._-]{1,255}$" };
    Certificates: |certificates| certificates.to_string(), {
        "type": "string", "pattern": "-----BEGIN CERTIFICATE-----"
    };
    HeaderText: |text| text.as_str(), { "type": "string", "minLength": 1, "maxLength": 4096 };
    OriginPattern: |origin| origin.as_str(), {
        "type": "string", "maxLength": 253,
        "pattern": r"^\*$|^https?://(\*|(\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+)(:[0-9]{1,5})?$"
    };
    Pattern: |pattern| pattern.as_str(), { "type": "string", "format": "regex" };
    Percent: |percent| percent.get(), { "type": "integer", "minimum": 0, "maximum": 100 };
    Port: |port| port.get(), { "type": "integer", "minimum": 1, "maximum": 65535 };
    Weight: |weight| weight.get(), { "type": "integer", "minimum": 0, "maximum": 1000000 };
}

described_as! {
    Timespan: { "type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" };
}
