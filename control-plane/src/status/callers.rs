//! Who calls services without the mesh's TLS.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A caller of a service, as the service's own sidecars have seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CallerReport {
    /// The namespace of the service that is called.
    pub namespace: String,
    /// The service that is called.
    pub service: String,
    /// Which of its ports; 0: none that it declares.
    pub port: u16,
    /// `Permissive`: such calls are let in. `Strict`: they are refused. Empty: there is no such service any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Where its connections come from.
    pub address: IpAddr,
    /// `namespace/service-account` of the workload that is registered at this address, past whose sidecar it calls; empty: nobody
    /// is, or several are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// RFC 3339: when its first connection began.
    pub first_seen: String,
    /// RFC 3339: when its last one ended, give or take 5 min; after a day it is no longer listed.
    pub last_seen: String,
    /// RFC 3339: when it was last refused for want of mutual TLS; empty: it never was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_refused: String,
    /// Whether it was let in when it called last, at a port that the service declares: `Strict` would lock it out.
    #[serde(default)]
    pub let_in: bool,
}

impl CallerReport {
    /// Who it is, as far as that is known.
    pub fn who(&self) -> String {
        match self.workload.as_str() {
            "" => self.address.to_string(),
            workload => format!("{workload} ({})", self.address),
        }
    }
}

/// How many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CallersSummary {
    /// Callers, each counted once for each port of a service that it calls.
    pub callers: u32,
    /// Services that they call, `namespace/service`; at most 100.
    pub services: Vec<String>,
}
