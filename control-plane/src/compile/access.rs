//! AccessPolicies, widest to narrowest, → what an instance enforces.
//!
//! Field by field, as all policies: `rules` and `defaultAction` are the narrowest's that says something. But
//! `defaultAction` and `mtls.mode` may only become stricter on the way, unless the Mesh allows loosening. A
//! policy on trial (`dryRun`) changes nothing that is enforced: it is merged into a second policy which only
//! logs. A policy that never was valid denies all: whoever wrote it wanted to protect something.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_config::{
    kind::{self, AccessPolicySpec, DefaultAction, ObjectKey},
    model::{AccessPolicy, AccessRule, ClaimRule, InboundPolicy, MtlsMode, PathRule},
    value::ServiceName,
};

use super::{
    Finding, Reason,
    index::Index,
    targets::{Target, Targets},
};

/// What holds for the instances of a service, as it is written.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) mtls: MtlsMode,
    pub(super) policies: Vec<AccessPolicy>,
}

pub(super) fn access(
    index: &Index<'_>,
    targets: &Targets<'_>,
    service: &ServiceName,
    findings: &mut Vec<Finding>,
) -> Access {
    let wide_to_narrow = targets_of(service);
    let policies = held(targets, &wide_to_narrow);
    let loosening = index.mesh.allow_loosening.unwrap_or(false);
    let enforced = enforced(&policies);

    let mut merged = Vec::new();
    merged.extend(merge(&enforced, loosening, findings));
    if policies.iter().any(|policy| is_trial(policy)) {
        merged.extend(
            merge(&policies, loosening, findings).map(|policy| AccessPolicy {
                dry_run: true,
                ..policy
            }),
        );
    }
    for target in &wide_to_narrow {
        merged.extend(targets.denied(target).iter().map(|key| AccessPolicy {
            name: format!("{}/{}", key.namespace, key.name).into(),
            deny_by_default: true,
            dry_run: false,
            rules: Vec::new(),
            invalid: true,
        }));
    }
    Access {
        mtls: mtls(index, &enforced, loosening, findings).0,
        policies: merged,
    }
}

/// How many services a finding names.
const NAMED_MAX: usize = 5;

/// Rules about claims where nobody verifies any: they allow nobody. Once for each policy: one for the whole mesh would say
/// it of each service.
pub(super) fn report_unverified(
    inbound: &BTreeMap<ServiceName, InboundPolicy>,
    findings: &mut Vec<Finding>,
) {
    let mut by_policy: BTreeMap<&str, BTreeSet<&ServiceName>> = BTreeMap::new();
    let unverified = inbound.iter();
    let unverified = unverified.filter(|(_, inbound)| inbound.authentication.is_none());
    for (service, inbound) in unverified {
        let asks = |policy: &&AccessPolicy| policy.rules.iter().any(|rule| !rule.claims.is_empty());
        for policy in inbound.access.iter().filter(asks) {
            by_policy.entry(&policy.name).or_default().insert(service);
        }
    }
    for (policy, services) in by_policy {
        // Ours, as `name` below makes it.
        let Ok(ServiceName { namespace, name }) = policy.parse() else {
            continue;
        };
        let named = services.iter().take(NAMED_MAX);
        let named: Vec<String> = named.map(|service| format!("Service {service}")).collect();
        let more = match services.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        findings.push(Finding {
            object: ObjectKey {
                kind: kind::Kind::AccessPolicy,
                namespace,
                name,
            },
            reason: Reason::NotEnforced,
            message: format!(
                "its rules with `from.claims` allow nobody at {}{more}: no AuthenticationPolicy holds there, so no token \
                 is verified; write one for the Service, its namespace or the mesh",
                named.join(", ")
            ),
        });
    }
}

/// Who decided what [`access`] says, by field; nobody: the default.
pub(super) fn deciders(
    index: &Index<'_>,
    targets: &Targets<'_>,
    service: &ServiceName,
) -> Vec<(&'static str, String, Option<ObjectKey>)> {
    let held = held(targets, &targets_of(service));
    let enforced = enforced(&held);
    let loosening = index.mesh.allow_loosening.unwrap_or(false);
    let mut ignored = Vec::new();
    let (mode, by) = mtls(index, &enforced, loosening, &mut ignored);
    let mode = match mode {
        MtlsMode::Strict => "Strict",
        MtlsMode::Permissive => "Permissive",
    };
    let mut told = vec![("mtls.mode", mode.to_owned(), by)];
    if !enforced.is_empty() {
        let (action, by) = default_action(&enforced, loosening, &mut ignored);
        let said = action.unwrap_or(DefaultAction::Deny);
        told.push(("defaultAction", said.to_string(), by.map(key)));
        let ruling = ruling(&enforced);
        let rules = ruling.map_or(0, |policy| policy.spec.rules.len());
        told.push(("rules", rules.to_string(), ruling.map(key)));
    }
    for trial in held.iter().filter(|policy| is_trial(policy)) {
        let what = "refuses nothing, counts what it would".to_owned();
        told.push(("dryRun", what, Some(key(trial))));
    }
    for target in &targets_of(service) {
        for denied in targets.denied(target) {
            let what = "everything is refused: it never was valid".to_owned();
            told.push(("denies", what, Some((*denied).clone())));
        }
    }
    told
}

pub(super) fn targets_of(service: &ServiceName) -> [Target; 3] {
    [
        Target::Mesh,
        Target::Namespace(service.namespace.clone()),
        Target::Service(service.clone()),
    ]
}

fn held<'a>(targets: &Targets<'a>, wide_to_narrow: &[Target]) -> Vec<&'a kind::AccessPolicy> {
    let held = wide_to_narrow
        .iter()
        .filter_map(|target| targets.access(target));
    held.collect()
}

fn enforced<'a>(policies: &[&'a kind::AccessPolicy]) -> Vec<&'a kind::AccessPolicy> {
    let enforced = policies.iter().filter(|policy| !is_trial(policy));
    enforced.copied().collect()
}

fn is_trial(policy: &kind::AccessPolicy) -> bool {
    policy.spec.dry_run.unwrap_or(false)
}

fn merge(
    policies: &[&kind::AccessPolicy],
    loosening: bool,
    findings: &mut Vec<Finding>,
) -> Option<AccessPolicy> {
    let narrowest = policies.last()?;
    let (action, _) = default_action(policies, loosening, findings);
    let ruling = ruling(policies);
    Some(AccessPolicy {
        // Who is asked about a refusal: the author of the rules that did not match.
        name: name(ruling.unwrap_or(narrowest)),
        deny_by_default: action.unwrap_or(DefaultAction::Deny) == DefaultAction::Deny,
        dry_run: false,
        rules: ruling.map(|policy| rules(&policy.spec)).unwrap_or_default(),
        invalid: false,
    })
}

/// What the narrowest says that may, and which that is.
fn default_action<'a>(
    policies: &[&'a kind::AccessPolicy],
    loosening: bool,
    findings: &mut Vec<Finding>,
) -> (Option<DefaultAction>, Option<&'a kind::AccessPolicy>) {
    let (mut action, mut by) = (None, None);
    for policy in policies {
        match (action, policy.spec.default_action) {
            (Some(DefaultAction::Deny), Some(DefaultAction::Allow)) if !loosening => {
                findings.push(loosens(
                    policy,
                    "spec.defaultAction Allow",
                    "a wider policy says Deny",
                ));
            }
            (_, Some(said)) => (action, by) = (Some(said), Some(*policy)),
            (_, None) => {}
        }
    }
    (action, by)
}

/// Whose rules hold.
fn ruling<'a>(policies: &[&'a kind::AccessPolicy]) -> Option<&'a kind::AccessPolicy> {
    let mut narrow_to_wide = policies.iter().rev();
    narrow_to_wide
        .find(|policy| !policy.spec.rules.is_empty())
        .copied()
}

/// Whether plaintext is let in, and who decided it; nobody: the default.
pub(super) fn mode(
    index: &Index<'_>,
    targets: &Targets<'_>,
    service: &ServiceName,
) -> (MtlsMode, Option<ObjectKey>) {
    let enforced = enforced(&held(targets, &targets_of(service)));
    let loosening = index.mesh.allow_loosening.unwrap_or(false);
    mtls(index, &enforced, loosening, &mut Vec::new())
}

/// What the narrowest says that may, and which that is.
fn mtls(
    index: &Index<'_>,
    policies: &[&kind::AccessPolicy],
    loosening: bool,
    findings: &mut Vec<Finding>,
) -> (MtlsMode, Option<ObjectKey>) {
    let mut mode = index.mesh.mtls.mode;
    let mut by = mode.and(index.mesh_key).cloned();
    for policy in policies {
        match (mode, policy.spec.mtls.mode) {
            (Some(kind::MtlsMode::Strict), Some(kind::MtlsMode::Permissive)) if !loosening => {
                findings.push(loosens(
                    policy,
                    "spec.mtls.mode Permissive",
                    "something wider says Strict",
                ));
            }
            (_, Some(said)) => (mode, by) = (Some(said), Some(key(policy))),
            (_, None) => {}
        }
    }
    let mode = match mode {
        Some(kind::MtlsMode::Permissive) => MtlsMode::Permissive,
        Some(kind::MtlsMode::Strict) | None => MtlsMode::Strict,
    };
    (mode, by)
}

fn key(policy: &kind::AccessPolicy) -> ObjectKey {
    let ServiceName { namespace, name } = policy.full_name();
    ObjectKey {
        kind: kind::Kind::AccessPolicy,
        namespace,
        name,
    }
}

fn loosens(policy: &kind::AccessPolicy, what: &str, why: &str) -> Finding {
    Finding {
        object: key(policy),
        reason: Reason::Loosens,
        message: format!(
            "{what} is without effect: {why}, and Mesh spec.allowLoosening is not set"
        ),
    }
}

fn name(policy: &kind::AccessPolicy) -> Arc<str> {
    policy.full_name().to_string().into()
}

fn rules(spec: &AccessPolicySpec) -> Vec<AccessRule> {
    let rule = |rule: &kind::AccessRule| AccessRule {
        principals: rule.from.principals.clone(),
        namespaces: rule.from.namespaces.clone(),
        service_accounts: rule
            .from
            .service_accounts
            .iter()
            .map(|account| (account.namespace.clone(), account.name.clone()))
            .collect(),
        claims: rule.from.claims.iter().map(claim).collect(),
        methods: rule
            .to
            .methods
            .iter()
            .map(|method| (*method).into())
            .collect(),
        paths: rule.to.paths.iter().map(path).collect(),
        ports: rule.to.ports.clone(),
    };
    spec.rules.iter().map(rule).collect()
}

fn claim(claim: &kind::AccessClaim) -> ClaimRule {
    ClaimRule {
        claim: claim.claim.as_str().into(),
        values: claim.values.clone(),
    }
}

pub(super) fn path(path: &kind::PathRule) -> PathRule {
    match path {
        kind::PathRule::Exact(path) => PathRule::Exact(path.clone()),
        kind::PathRule::Prefix(path) => PathRule::Prefix(path.clone()),
    }
}
