//! Policies for what no request comes to: a route, or a rule of it, that loses all of its requests or hangs on nothing; a
//! service as which nobody can answer.

use std::collections::BTreeSet;

use usher_config::{
    kind::{ObjectKey, TargetRef},
    value::Name,
};

use super::{Dead, Shadow, at_gateways, words::named};
use crate::compile::{
    Compiled, Finding, Reason, index::Index, rule_of, targets::Target, targets::Targets,
};

/// Who does what a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Callers' sidecars, and gateways.
    Callers,
    /// The called service's own sidecars, and gateways: the former know no routes.
    Callees,
}

/// What a policy is for, as far as it holds that target.
struct Held<'a> {
    policy: &'a ObjectKey,
    target: Target,
    by: By,
}

/// Each policy that holds a target without requests.
pub(super) fn policies(
    (index, targets): (&Index<'_>, &Targets<'_>),
    (compiled, shadows): (&Compiled, &[Shadow<'_>]),
    findings: &mut Vec<Finding>,
) {
    let all = held(index, targets);
    let is_of_route = |held: &Held<'_>| matches!(held.target, Target::Route(..));
    let rules = match all.iter().any(is_of_route) {
        true => Rules::new(compiled, shadows),
        false => Rules::default(),
    };
    // Who names no Workload at all checks a part of a configuration.
    let partial = index.workloads.is_empty();
    for Held { policy, target, by } in all {
        let why = match &target {
            Target::Route(route, rule) => rules.why_not(route, rule.as_ref(), by),
            Target::Service(name) if by == By::Callees && !partial => {
                let nobody = !compiled.backing.contains_key(name);
                nobody.then(|| "there is no Workload behind it, so nobody enforces this".to_owned())
            }
            Target::Service(_) | Target::Mesh | Target::Namespace(_) | Target::Gateway(_) => None,
        };
        findings.extend(why.map(|why| Finding {
            object: policy.clone(),
            reason: Reason::Unreachable,
            message: format!("no request reaches {}: {why}", target.describe()),
        }));
    }
}

/// All policies with what each of them holds.
fn held<'a>(index: &Index<'a>, targets: &Targets<'a>) -> Vec<Held<'a>> {
    let mut all = Vec::new();
    let mut add =
        |policy: &'a ObjectKey, by, references: &[TargetRef], holds: &dyn Fn(&Target) -> bool| {
            let wanted = references.iter();
            let wanted = wanted.map(|reference| Target::of(reference, &policy.namespace));
            let own = wanted.filter(|target| holds(target));
            all.extend(own.map(|target| Held { policy, target, by }));
        };
    for one in &index.traffic {
        let holds = |of: &Target| {
            targets
                .traffic(of)
                .is_some_and(|it| std::ptr::eq(it, one.object))
        };
        add(one.key, By::Callers, &one.object.spec.target_refs, &holds);
    }
    for one in &index.faults {
        let holds = |of: &Target| targets.fault(of).is_some_and(|it| it.key == one.key);
        add(one.key, By::Callers, &one.object.spec.target_refs, &holds);
    }
    for one in &index.access {
        let holds = |of: &Target| {
            targets
                .access(of)
                .is_some_and(|it| std::ptr::eq(it, one.object))
        };
        add(one.key, By::Callees, &one.object.spec.target_refs, &holds);
    }
    for one in &index.authentication {
        let own = one.object;
        let holds = |of: &Target| {
            targets
                .authentication(of)
                .is_some_and(|it| std::ptr::eq(it, own))
        };
        add(one.key, By::Callees, &one.object.spec.target_refs, &holds);
    }
    for one in &index.rate_limits {
        let own = one.object;
        let holds = |of: &Target| {
            targets
                .rate_limits(of)
                .is_some_and(|it| std::ptr::eq(it, own))
        };
        add(one.key, By::Callees, &one.object.spec.target_refs, &holds);
    }
    all
}

/// Which rules are attached, and which of them get requests; by label.
#[derive(Debug, Default)]
struct Rules<'c> {
    /// At services or gateways, at gateways.
    attached: [BTreeSet<&'c str>; 2],
    /// Likewise.
    live: [BTreeSet<&'c str>; 2],
    /// Of each shadowed one who takes its requests.
    lost: BTreeSet<(&'c str, &'c str)>,
}

impl<'c> Rules<'c> {
    fn new(compiled: &'c Compiled, shadows: &[Shadow<'c>]) -> Self {
        let dead = Dead::new(shadows);
        let mut rules = Self::default();
        let ([attached, outside], [live, live_outside]) = (&mut rules.attached, &mut rules.live);
        for route in at_gateways(compiled) {
            outside.insert(&route.name);
            if !dead.has(route) {
                live_outside.insert(&route.name);
            }
        }
        attached.clone_from(outside);
        live.clone_from(live_outside);
        let services = compiled.services.values();
        for route in services.flat_map(|service| &service.routes) {
            attached.insert(&route.name);
            if !dead.has(route) {
                live.insert(&route.name);
            }
        }
        let lost = shadows.iter();
        rules.lost = lost.map(|one| (&*one.route.name, &*one.by.name)).collect();
        rules
    }

    /// `None`: some request may come there.
    fn why_not(&self, route: &ObjectKey, rule: Option<&Name>, by: By) -> Option<String> {
        let ObjectKey {
            kind,
            namespace,
            name,
        } = route;
        let start = format!("{kind}/{namespace}/{name}/");
        let wanted = rule.map(|rule| format!("{start}{rule}"));
        let is_meant = |label: &str| wanted.as_deref().is_none_or(|wanted| label == wanted);
        let any_of = |labels: &BTreeSet<&str>| {
            let own = labels.range(&*start..);
            let mut own = own.take_while(|label| label.starts_with(&start));
            own.any(|label| is_meant(label))
        };
        let ([attached, outside], [live, live_outside]) = (&self.attached, &self.live);
        let (attached, live) = match by {
            By::Callers => (attached, live),
            By::Callees => (outside, live_outside),
        };
        if any_of(live) {
            return None;
        }
        if !any_of(attached) {
            // That what guards a route has no gateway is said where guards are compiled.
            let hangs = "it is attached to no Service and no Gateway".to_owned();
            return (by == By::Callers).then_some(hangs);
        }
        let lost = self.lost.range((&*start, "")..);
        let lost = lost.take_while(|(label, _)| label.starts_with(&start));
        let lost = lost.filter(|(label, _)| is_meant(label));
        let takers: BTreeSet<&str> = lost.map(|(_, by)| *by).collect();
        let takers = takers.into_iter().filter_map(|label| {
            let (key, rule) = rule_of(label)?;
            Some(format!("rule {rule} of {key}"))
        });
        let takers: Vec<String> = takers.collect();
        Some(format!(
            "all of them are taken by {}, which is asked first",
            named(&takers, " and ")
        ))
    }
}
