//! May this caller do this to that service: its mutual TLS mode, and what each of its AccessPolicies says.

use serde::Serialize;
use usher_config::{
    decide::access::{self, Access, Claims, HttpAccess, Lacking, Ruling},
    kind::Kind,
    model::{AccessPolicy, Authentication, InboundPolicy, LimitWhen, MtlsMode, RateLimits},
    value::{SpiffeId, format_duration, path::PathError},
};

use super::{Places, diff::open_to, policy};

/// What would be answered, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// Whether the request reaches the application.
    pub allowed: bool,
    /// `Strict` or `Permissive`.
    pub mtls: &'static str,
    /// One line: what decided.
    pub because: String,
    /// What each policy says, in the order in which they are asked.
    pub policies: Vec<PolicySays>,
    /// What else has to hold: tokens that are valid, limits that are not reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provided: Vec<String>,
    /// What of the question has no part in the answer, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// What one policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySays {
    /// `AccessPolicy namespace/name`.
    pub object: String,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Whether it lets the request pass.
    pub allows: bool,
    /// It only counts and logs what it would refuse.
    pub dry_run: bool,
    /// One line.
    pub because: String,
    /// Of a policy that refuses: for each of its rules why that does not take the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// Claims as the workload's sidecars know them: where nobody verifies a token, none of what it says; and then why not.
pub fn known_claims<'c>(
    workload: &InboundPolicy,
    said: Option<&'c Claims>,
) -> (Option<&'c Claims>, Option<String>) {
    match (&workload.authentication, said) {
        (None, Some(_)) => {
            let why = format!(
                "claims: no AuthenticationPolicy holds for {}, so nobody verifies a token there, and what it says is unknown",
                workload.service
            );
            (None, Some(why))
        }
        _ => (said, None),
    }
}

/// Answers for a request whose path no policy gets to see.
pub fn with_refused_path(
    workload: &InboundPolicy,
    caller: Option<&SpiffeId>,
    error: PathError,
) -> Permission {
    let because = match access::transport_allowed(workload.mtls, caller) {
        true => format!("{error}: 400, flag DPE, before any policy is asked"),
        false => WITHOUT_SIDECAR.to_owned(),
    };
    Permission {
        allowed: false,
        mtls: mode(workload.mtls),
        because,
        policies: Vec::new(),
        provided: Vec::new(),
        ignored: Vec::new(),
    }
}

const WITHOUT_SIDECAR: &str = "its mtls.mode is Strict and the caller has no sidecar: 403, flag AZ";

fn mode(mtls: MtlsMode) -> &'static str {
    match mtls {
        MtlsMode::Strict => "Strict",
        MtlsMode::Permissive => "Permissive",
    }
}

/// Answers.
pub fn permission(workload: &InboundPolicy, asked: &Access<'_>, places: &Places<'_>) -> Permission {
    let says = |policy: &AccessPolicy| policy_says(policy, asked, places);
    let policies: Vec<PolicySays> = workload.access.iter().map(says).collect();
    let (allowed, because) = if !access::transport_allowed(workload.mtls, asked.caller) {
        (false, WITHOUT_SIDECAR.to_owned())
    } else if let Some(why) = without_token(workload.authentication.as_ref(), asked) {
        (false, why)
    } else {
        match access::decide(&workload.access, asked).denied_by {
            Some(name) => (false, format!("AccessPolicy {name} refuses: 403, flag AZ")),
            None if policies.iter().all(|policy| policy.dry_run) => {
                let whom = open_to(workload.mtls);
                (
                    true,
                    format!("no AccessPolicy refuses anything: {whom} may"),
                )
            }
            None => {
                let by = policies.iter().find(|policy| !policy.dry_run);
                let by = by.map(|policy| {
                    let at = policy.at.iter().map(|at| format!(" ({at})"));
                    let at: String = at.collect();
                    format!("{}{at} {}", policy.object, policy.because)
                });
                (true, by.unwrap_or_default())
            }
        }
    };
    Permission {
        allowed,
        mtls: mode(workload.mtls),
        because,
        policies,
        provided: provided(
            workload.authentication.as_ref(),
            workload.rate_limits.iter(),
            asked.http,
        ),
        ignored: Vec::new(),
    }
}

/// Why nobody gets past the policy on tokens.
fn without_token(authentication: Option<&Authentication>, asked: &Access<'_>) -> Option<String> {
    let policy = authentication?;
    let name = &policy.name;
    if policy.invalid {
        return Some(format!(
            "AuthenticationPolicy {name} has mistakes and no valid earlier version: 403, flag JW"
        ));
    }
    let opaque = policy.required && asked.http.is_none();
    opaque.then(|| {
        format!("AuthenticationPolicy {name} requires a token, and an opaque connection has none")
    })
}

/// What else a request needs there, a line each.
pub(super) fn provided<'l>(
    authentication: Option<&Authentication>,
    limits: impl Iterator<Item = &'l RateLimits>,
    http: Option<HttpAccess<'_>>,
) -> Vec<String> {
    let token = authentication.filter(|one| !one.invalid).map(|one| {
        let issuers: Vec<&str> = one.providers.iter().map(|one| &*one.issuer).collect();
        let issuers = issuers.join(" or ");
        match one.required {
            true => format!(
                "a valid token of {issuers} (AuthenticationPolicy {}), else 401, flag JW",
                one.name
            ),
            false => format!(
                "no token, or a valid one of {issuers} (AuthenticationPolicy {}), else 401, flag JW",
                one.name
            ),
        }
    });
    let enforced = limits.filter(|limits| !limits.dry_run);
    let limits = enforced.flat_map(|limits| {
        let about = limits
            .limits
            .iter()
            .filter(|limit| may_concern(&limit.when, http));
        about.map(|limit| {
            let per = format_duration(limit.per);
            let each = if limit.key.is_empty() {
                ""
            } else {
                " of each key"
            };
            format!(
                "at most {} in {per}{each} (RateLimitPolicy {}, limit {}), else 429, flag RL",
                limit.requests, limits.policy, limit.name
            )
        })
    });
    token.into_iter().chain(limits).collect()
}

/// Whether a limit counts such requests, whatever their headers.
fn may_concern(when: &LimitWhen, http: Option<HttpAccess<'_>>) -> bool {
    http.is_some_and(|http| {
        (when.methods.is_empty() || when.methods.contains(http.method))
            && (when.paths.is_empty() || when.paths.iter().any(|path| path.covers(http.path)))
    })
}

fn policy_says(written: &AccessPolicy, asked: &Access<'_>, places: &Places<'_>) -> PolicySays {
    let key = policy(Kind::AccessPolicy, &written.name);
    let at = |field: &str| key.as_ref().and_then(|key| places.of(key, field));
    let ruling = access::ruling(written, asked);
    let (allows, because, rules) = match &ruling {
        Ruling::Invalid => {
            let because = "has mistakes and no valid earlier version: it denies everything";
            (false, because.to_owned(), Vec::new())
        }
        Ruling::AllowedBy(number) => (true, format!("allows by spec.rules[{number}]"), Vec::new()),
        Ruling::AllowedByDefault => (true, "has defaultAction Allow".to_owned(), Vec::new()),
        Ruling::Denied(lacking) => {
            let rules = lacking.iter().enumerate();
            let line = |(number, lacking)| {
                let why = lacks(lacking, asked);
                let rule = format!("spec.rules[{number}]");
                match at(&rule) {
                    Some(at) => format!("{rule} ({at}): {why}"),
                    None => format!("{rule}: {why}"),
                }
            };
            let because = match lacking.len() {
                0 => "has no rules, and denies what none allows",
                _ => "has no rule that allows it",
            };
            (false, because.to_owned(), rules.map(line).collect())
        }
    };
    let field = match &ruling {
        Ruling::AllowedBy(number) => format!("spec.rules[{number}]"),
        Ruling::AllowedByDefault => "spec.defaultAction".to_owned(),
        Ruling::Denied(_) | Ruling::Invalid => String::new(),
    };
    PolicySays {
        object: format!("AccessPolicy {}", written.name),
        at: at(&field),
        allows,
        dry_run: written.dry_run && !written.invalid,
        because,
        rules,
    }
}

fn lacks(lacking: &Lacking, asked: &Access<'_>) -> String {
    let caller = || match asked.caller {
        Some(caller) => caller.to_string(),
        None => "a caller without identity".to_owned(),
    };
    match (lacking, asked.http) {
        (Lacking::Caller, _) => format!("`from` does not have {}", caller()),
        (Lacking::Claims, Some(http)) if http.claims.is_some() => {
            "`from.claims` asks for what the token does not say".to_owned()
        }
        (Lacking::Claims, Some(_)) => {
            "`from.claims` asks for claims of a verified token, and none is known".to_owned()
        }
        (Lacking::Port, _) => format!("`to.ports` does not have {}", asked.port),
        (Lacking::Method, Some(http)) => format!("`to.methods` does not have {}", http.method),
        (Lacking::Path, Some(http)) => format!("`to.paths` does not cover {}", http.path),
        (Lacking::Claims | Lacking::Method | Lacking::Path, None) => {
            "it is about HTTP, and this is an opaque connection".to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
