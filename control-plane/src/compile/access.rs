//! AccessPolicies, widest to narrowest, → what an instance enforces.
//!
//! Field by field, as all policies: `rules` and `defaultAction` are the narrowest's that says something. But
//! `defaultAction` and `mtls.mode` may only become stricter on the way, unless the Mesh allows loosening. A
//! policy on trial (`dryRun`) changes nothing that is enforced: it is merged into a second policy which only
//! logs. A policy that never was valid denies all: whoever wrote it wanted to protect something.

use std::sync::Arc;

use usher_config::{
    kind::{self, AccessPolicySpec, DefaultAction},
    model::{AccessPolicy, AccessRule, MtlsMode, PathRule},
    value::ServiceName,
};

use super::{
    Finding, Reason,
    index::Index,
    targets::{Target, Targets},
};

/// What holds for the instances of a service.
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
    let wide_to_narrow = [
        Target::Mesh,
        Target::Namespace(service.namespace.clone()),
        Target::Service(service.clone()),
    ];
    let policies: Vec<&kind::AccessPolicy> = wide_to_narrow
        .iter()
        .filter_map(|target| targets.access(target))
        .collect();
    let loosening = index.mesh.allow_loosening.unwrap_or(false);
    let enforced: Vec<&kind::AccessPolicy> = policies
        .iter()
        .filter(|policy| !is_trial(policy))
        .copied()
        .collect();

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
        mtls: mtls(index, &enforced, loosening, findings),
        policies: merged,
    }
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
    let mut action = None;
    for policy in policies {
        match (action, policy.spec.default_action) {
            (Some(DefaultAction::Deny), Some(DefaultAction::Allow)) if !loosening => {
                findings.push(loosens(
                    policy,
                    "spec.defaultAction Allow",
                    "a wider policy says Deny",
                ));
            }
            (_, Some(said)) => action = Some(said),
            (_, None) => {}
        }
    }
    let ruling = policies
        .iter()
        .rev()
        .find(|policy| !policy.spec.rules.is_empty());
    Some(AccessPolicy {
        // Who is asked about a refusal: the author of the rules that did not match.
        name: name(ruling.unwrap_or(narrowest)),
        deny_by_default: action.unwrap_or(DefaultAction::Deny) == DefaultAction::Deny,
        dry_run: false,
        rules: ruling.map(|policy| rules(&policy.spec)).unwrap_or_default(),
        invalid: false,
    })
}

fn mtls(
    index: &Index<'_>,
    policies: &[&kind::AccessPolicy],
    loosening: bool,
    findings: &mut Vec<Finding>,
) -> MtlsMode {
    let mut mode = index.mesh.mtls.mode;
    for policy in policies {
        match (mode, policy.spec.mtls.mode) {
            (Some(kind::MtlsMode::Strict), Some(kind::MtlsMode::Permissive)) if !loosening => {
                findings.push(loosens(
                    policy,
                    "spec.mtls.mode Permissive",
                    "something wider says Strict",
                ));
            }
            (_, Some(said)) => mode = Some(said),
            (_, None) => {}
        }
    }
    match mode {
        Some(kind::MtlsMode::Permissive) => MtlsMode::Permissive,
        Some(kind::MtlsMode::Strict) | None => MtlsMode::Strict,
    }
}

fn loosens(policy: &kind::AccessPolicy, what: &str, why: &str) -> Finding {
    let name = policy.full_name();
    Finding {
        object: kind::ObjectKey {
            kind: kind::Kind::AccessPolicy,
            namespace: name.namespace,
            name: name.name,
        },
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

pub(super) fn path(path: &kind::PathRule) -> PathRule {
    match path {
        kind::PathRule::Exact(path) => PathRule::Exact(path.clone()),
        kind::PathRule::Prefix(path) => PathRule::Prefix(path.clone()),
    }
}
