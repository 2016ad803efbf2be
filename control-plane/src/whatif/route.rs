//! Where a request would go: the story of a sidecar or a gateway up to its backend, told instead of done.

mod gateway;
mod onward;
mod sidecar;

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use serde::Serialize;
use usher_config::{
    decide::route::{self, Mismatch, mismatch, path},
    model::{PathMatch, Route},
    value::{PathReading, Port},
};

use super::{Caller, Places};
use crate::compile::Compiled;

pub use gateway::at_gateway;
pub use onward::{Backend, Policy};
pub use sidecar::from_sidecar;

/// A request that nobody sends.
#[derive(Debug, Clone)]
pub struct Imagined {
    /// Of it.
    pub method: Method,
    /// With scheme, authority and path.
    pub uri: Uri,
    /// Without `Host`.
    pub headers: HeaderMap,
}

/// What would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Journey {
    /// `METHOD URL`
    pub request: String,
    /// Who sends it.
    pub from: String,
    /// Whom it names: a service's port, or a gateway's listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The rule that takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Rules that are asked before that one, and why they do not take it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// What the gateway asks before: tokens that are valid, limits that are not reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provided: Vec<String>,
    /// What then.
    #[serde(flatten)]
    pub end: End,
}

/// A rule of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// `HTTPRoute namespace/name`
    pub object: String,
    /// Its name, else its number.
    pub rule: String,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// A rule that does not take the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// Which.
    #[serde(flatten)]
    pub rule: Rule,
    /// One line.
    pub because: String,
}

/// How a request ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "outcome",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum End {
    /// Answered by the proxy with an error.
    Refused {
        /// HTTP's.
        status: u16,
        /// As in logs and metrics.
        flag: &'static str,
        /// One line.
        because: String,
    },
    /// Answered by a filter of the rule.
    Answered {
        /// HTTP's.
        status: u16,
        /// `name: value`
        headers: Vec<String>,
    },
    /// To one of these, by share.
    Forwarded {
        /// None has no share.
        backends: Vec<Backend>,
    },
}

impl Journey {
    fn new(imagined: &Imagined, from: &str) -> Self {
        Self {
            request: format!("{} {}", imagined.method, imagined.uri),
            from: from.to_owned(),
            to: None,
            rule: None,
            passed_over: Vec::new(),
            provided: Vec::new(),
            end: End::Refused {
                status: 500,
                flag: "LR",
                because: String::new(),
            },
        }
    }

    fn refused(mut self, status: u16, flag: &'static str, because: impl Into<String>) -> Self {
        self.end = End::Refused {
            status,
            flag,
            because: because.into(),
        };
        self
    }

    /// Whether every share of it reaches an application, or a filter answers.
    pub fn is_good(&self) -> bool {
        match &self.end {
            End::Refused { .. } => false,
            End::Answered { .. } => true,
            End::Forwarded { backends } => backends.iter().all(Backend::is_good),
        }
    }
}

/// What all questions are answered from.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// What would run.
    pub compiled: &'k Compiled,
    /// Where it is written.
    pub places: &'k Places<'k>,
}

/// The request as routing sees it.
struct Seen<'i> {
    imagined: &'i Imagined,
    /// With a normalised path.
    uri: Uri,
    /// Lower case, without port.
    host: String,
    port: Option<Port>,
}

impl<'i> Seen<'i> {
    /// `Err`: why it would be refused with 400.
    fn new(imagined: &'i Imagined, reading: PathReading) -> Result<Self, String> {
        let authority = imagined
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let parsed = route::authority::parse(authority).map_err(|error| error.to_string())?;
        let path =
            path::normalize(imagined.uri.path(), reading).map_err(|error| error.to_string())?;
        let mut parts = imagined.uri.clone().into_parts();
        let query = imagined.uri.query().map(|query| format!("?{query}"));
        let target = format!("{path}{}", query.unwrap_or_default());
        parts.path_and_query = Some(target.parse().map_err(|error| format!("{error}"))?);
        Ok(Self {
            host: parsed.host.clone().into_owned(),
            port: parsed.port,
            uri: Uri::from_parts(parts).map_err(|error| error.to_string())?,
            imagined,
        })
    }

    fn at(&self, port: Port) -> route::Request<'_> {
        route::Request {
            port,
            host: &self.host,
            authority: self
                .uri
                .authority()
                .map_or("", |authority| authority.as_str()),
            path: self.uri.path(),
            query: self.uri.query().unwrap_or_default(),
            method: &self.imagined.method,
            headers: &self.imagined.headers,
        }
    }
}

fn rule(name: &Arc<str>, places: &Places<'_>) -> Rule {
    match places.of_rule(name) {
        Some((object, rule, at)) => Rule {
            object: object.to_string(),
            rule,
            at,
        },
        None => Rule {
            object: name.to_string(),
            rule: String::new(),
            at: None,
        },
    }
}

/// Those of `routes` that do not take the request, once for each rule: its last match's reason would hide the others', so
/// all are told.
fn passed_over<'r>(
    routes: impl Iterator<Item = &'r Route>,
    request: &route::Request<'_>,
    places: &Places<'_>,
) -> Vec<PassedOver> {
    let mut all: Vec<(Arc<str>, PassedOver)> = Vec::new();
    for route in routes {
        let Some(why) = mismatch(route, request) else {
            continue;
        };
        let because = because(&why, route, request);
        match all.last_mut() {
            Some((name, told)) if *name == route.name => {
                told.because = format!("{}; {because}", told.because);
            }
            Some(_) | None => {
                let rule = rule(&route.name, places);
                all.push((route.name.clone(), PassedOver { rule, because }));
            }
        }
    }
    all.into_iter().map(|(_, told)| told).collect()
}

fn because(why: &Mismatch, route: &Route, request: &route::Request<'_>) -> String {
    match why {
        Mismatch::Port => format!("it is not for port {}", request.port),
        Mismatch::Hostname => format!("it is not for the host {}", request.host),
        Mismatch::Path => match &route.matches.path {
            PathMatch::Exact(path) => format!("its path is {path}"),
            PathMatch::Prefix(path) => format!("its path begins with {path}"),
            PathMatch::Regex(pattern) => format!("its path is like {}", pattern.as_str()),
        },
        Mismatch::Method => {
            let method = route.matches.method.as_ref();
            format!("its method is {}", method.map_or("", Method::as_str))
        }
        Mismatch::Header(name) => format!("the header {name} is not there, or has another value"),
        Mismatch::Query(name) => format!("the parameter {name} is not there, or has another value"),
    }
}

#[cfg(test)]
mod tests;
