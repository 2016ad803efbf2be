//! `Workload`: the instances of an application off Kubernetes, described once for all of them.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{Name, Timespan, Weight};

/// What all instances have in common. Instances register themselves; this says who they may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct WorkloadSpec {
    /// Whose identity the instances hold: the *only* source of a service's expected identities off Kubernetes.
    pub service_account: Name,
    /// Each instance's share among its siblings. Default 1.
    pub weight: Option<Weight>,
    /// Where the instances run, unless the sidecar says so itself (`--zone`).
    pub zone: Option<String>,
    /// How each sidecar finds out whether its application is well. Default: a TCP connection to its port.
    pub health_check: Option<HealthCheck>,
}

/// How a sidecar finds out whether its application is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HealthCheck {
    /// What is asked; exactly one of `http`, `grpc`, `tcp`.
    #[serde(flatten)]
    pub probe: HealthProbe,
    /// Between checks. Default 1 s: loopback is cheap, and a dead application is noticed before its callers'
    /// patience ends.
    pub interval: Option<Timespan>,
    /// For one check. Default 1 s.
    pub timeout: Option<Timespan>,
    /// Failures in a row that make it unhealthy. Default 3: one slow answer is not an illness.
    pub failure_threshold: Option<u32>,
    /// Successes in a row that make it healthy. Default 1.
    pub success_threshold: Option<u32>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema), schemars(transform = closed))]
pub enum HealthProbe {
    /// GET: 200–399 is well.
    Http {
        /// Absolute.
        path: String,
    },
    /// `grpc.health.v1.Health/Check`: SERVING is well.
    Grpc {
        /// Default empty: the whole server.
        #[serde(default)]
        service: String,
    },
    /// A connection is well.
    Tcp {},
}

/// No other fields in the chosen way; beside it there are those of [`HealthCheck`].
#[cfg(test)]
fn closed(schema: &mut schemars::Schema) {
    let ways = schema
        .as_object_mut()
        .and_then(|schema| schema.get_mut("oneOf"))
        .and_then(|ways| ways.as_array_mut());
    for way in ways.into_iter().flatten() {
        let fields = way
            .get_mut("properties")
            .and_then(|fields| fields.as_object_mut());
        for field in fields.into_iter().flat_map(|fields| fields.values_mut()) {
            if let Some(field) = field.as_object_mut() {
                field.insert("additionalProperties".to_owned(), false.into());
            }
        }
    }
}
