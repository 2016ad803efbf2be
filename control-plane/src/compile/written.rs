//! HTTPRoutes and GRPCRoutes, brought into one form.

use std::{sync::Arc, time::SystemTime};

use usher_config::{
    kind::{
        self, BackendRef, Choice as _, HttpFilter, HttpRouteRule, Kind, ObjectKey, ParentRef,
        TrafficPolicySpec,
    },
    model::RouteMatch,
    value::{Hostname, Name},
};

use super::{Finding, Reason, index::Index, matches, matches::Match};

/// A rule of either kind.
pub(super) struct Rule<'a> {
    pub(super) name: Option<&'a Name>,
    pub(super) matches: Vec<Match>,
    pub(super) filters: Vec<HttpFilter>,
    pub(super) backends: Vec<(&'a BackendRef, Vec<HttpFilter>)>,
    /// What the rule itself says about time and repetition.
    pub(super) own: Option<TrafficPolicySpec>,
}

/// A route of either kind.
pub(super) struct Written<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) accepted_at: SystemTime,
    pub(super) parents: &'a [ParentRef],
    pub(super) hostnames: &'a [Hostname],
    pub(super) rules: Vec<Rule<'a>>,
}

impl Written<'_> {
    /// `kind/namespace/name/rule`, the rule by name or by its number.
    pub(super) fn label(&self, number: usize) -> Arc<str> {
        let names: Vec<_> = self.rules.iter().map(|rule| rule.name).collect();
        label(self.key, &names, number)
    }
}

/// See [`Written::label`]. What is said about a rule (policies, breakers, metrics) goes by it, so a rule that is named
/// as if it were a number has it alone.
pub(super) fn label(key: &ObjectKey, names: &[Option<&Name>], number: usize) -> Arc<str> {
    let ObjectKey {
        kind,
        namespace,
        name,
    } = key;
    let rule = match names.get(number) {
        Some(Some(rule)) => rule.to_string(),
        _ => {
            let rule = number.to_string();
            let taken = names.iter().flatten().any(|name| name.as_str() == rule);
            if taken { format!("#{rule}") } else { rule }
        }
    };
    format!("{kind}/{namespace}/{name}/{rule}").into()
}

/// What a rule's label (`kind/namespace/name/rule`) says: its object, and the rule by name or number.
pub fn rule_of(label: &str) -> Option<(ObjectKey, &str)> {
    let mut parts = label.splitn(4, '/');
    let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let (_, kind) = Kind::ALL.iter().find(|(word, _)| *word == kind)?;
    let key = ObjectKey {
        kind: *kind,
        namespace: namespace.parse().ok()?,
        name: name.parse().ok()?,
    };
    Some((key, parts.next()?))
}

/// All routes of both kinds.
pub(super) fn written<'a>(index: &Index<'a>, findings: &mut Vec<Finding>) -> Vec<Written<'a>> {
    let mut all = Vec::new();
    for aged in &index.http_routes {
        let spec = &aged.object.spec;
        let rule = |rule: &'a HttpRouteRule| Rule {
            name: rule.name.as_ref(),
            matches: rule.matches.iter().map(matches::http).collect(),
            filters: rule.filters.clone(),
            backends: (rule.backend_refs.iter())
                .map(|entry| (&entry.backend, entry.filters.clone()))
                .collect(),
            own: own(rule),
        };
        all.push(Written {
            key: aged.key,
            accepted_at: aged.accepted_at,
            parents: &spec.parent_refs,
            hostnames: &spec.hostnames,
            rules: spec.rules.iter().map(rule).map(any_match).collect(),
        });
    }
    for aged in &index.grpc_routes {
        let spec = &aged.object.spec;
        let mut rules = Vec::new();
        for rule in &spec.rules {
            let mut compiled = Vec::new();
            for written in &rule.matches {
                match matches::grpc(written) {
                    Ok(found) => compiled.push(found),
                    Err(message) => findings.push(Finding {
                        object: aged.key.clone(),
                        reason: Reason::RefNotResolved,
                        message,
                    }),
                }
            }
            let found = Rule {
                name: rule.name.as_ref(),
                matches: compiled,
                filters: as_http(&rule.filters),
                backends: (rule.backend_refs.iter())
                    .map(|entry| (&entry.backend, as_http(&entry.filters)))
                    .collect(),
                own: None,
            };
            // A rule whose only match was dropped must not take everything.
            rules.push(if rule.matches.is_empty() {
                any_call(found)
            } else {
                found
            });
        }
        all.push(Written {
            key: aged.key,
            accepted_at: aged.accepted_at,
            parents: &spec.parent_refs,
            hostnames: &spec.hostnames,
            rules,
        });
    }
    all
}

fn as_http(filters: &[kind::GrpcFilter]) -> Vec<HttpFilter> {
    filters.iter().cloned().map(HttpFilter::from).collect()
}

fn any_match(mut rule: Rule<'_>) -> Rule<'_> {
    if rule.matches.is_empty() {
        rule.matches.push(Match::http(RouteMatch::default()));
    }
    rule
}

fn any_call(mut rule: Rule<'_>) -> Rule<'_> {
    rule.matches.push(matches::any_call());
    rule
}

/// A rule's own timeouts and retries as the narrowest policy.
fn own(rule: &HttpRouteRule) -> Option<TrafficPolicySpec> {
    let (timeouts, retry) = (&rule.timeouts, &rule.retry);
    let silent = *timeouts == kind::HttpRouteTimeouts::default()
        && *retry == kind::HttpRouteRetry::default();
    (!silent).then(|| TrafficPolicySpec {
        timeouts: kind::Timeouts {
            request: timeouts.request,
            backend_request: timeouts.backend_request,
            ..kind::Timeouts::default()
        },
        retry: kind::Retry {
            attempts: retry.attempts,
            codes: retry.codes.clone(),
            backoff: kind::Backoff {
                base: retry.backoff,
                max: None,
            },
            ..kind::Retry::default()
        },
        ..TrafficPolicySpec::default()
    })
}
