//! What is to be said of each object in its status. Pure.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    kind::{self, Choice as _, Object, ObjectKey, RouteKind},
    model,
};

use crate::{
    compile::{Compiled, rule_of},
    registry::{World, object_key},
    source::kubernetes::{ListenerVerdict, Verdict},
    status::{ConditionReport, ConditionStatus},
};

use crate::state::Shown;

/// By object.
pub(super) fn verdicts(
    shown: &Shown,
    world: &World,
    compiled: &Compiled,
) -> BTreeMap<ObjectKey, Verdict> {
    let objects = shown.objects.iter();
    let verdicts = objects.filter_map(|object| {
        let key = object_key(&object.title()).ok()?;
        let conditions = object.conditions.clone();
        let accepted = world.objects.get(&key).map(|accepted| &*accepted.object);
        let listeners = match accepted {
            Some(Object::Gateway(gateway)) => {
                let runs = compiled.gateways.get(&gateway.full_name());
                runs.map(|runs| listeners((gateway, runs), &conditions))
            }
            _ => None,
        };
        let verdict = Verdict {
            conditions,
            listeners: listeners.unwrap_or_default(),
        };
        Some((key, verdict))
    });
    verdicts.collect()
}

/// Of a Gateway, as it is written and as it runs. `conditions`: its own.
fn listeners(
    (written, runs): (&kind::Gateway, &model::Gateway),
    conditions: &[ConditionReport],
) -> Vec<ListenerVerdict> {
    let all = written.spec.listeners.iter().zip(&runs.listeners);
    let verdicts = all.map(|(written, runs)| {
        let kinds = written.route_kinds().iter();
        let kinds = kinds.filter(|kind| written.takes_kind(**kind));
        let of_gateway = |name: &str| conditions.iter().find(|one| one.r#type == name).cloned();
        let own = ["Accepted", "Programmed"].map(of_gateway);
        let mut own: Vec<ConditionReport> = own.into_iter().flatten().collect();
        own.push(resolved(written, runs));
        ListenerVerdict {
            name: written.name.to_string(),
            kinds: kinds.map(word).collect(),
            attached: attached(runs),
            conditions: own,
        }
    });
    verdicts.collect()
}

fn word(kind: &RouteKind) -> String {
    let all = RouteKind::ALL.iter();
    let mut named = all.filter(|(_, one)| one == kind);
    named.next().map_or("", |(word, _)| word).to_owned()
}

/// How many routes a listener has; a rule of one is none of its own.
fn attached(listener: &model::Listener) -> usize {
    let requests = listener.routes.iter().map(|route| &*route.route.name);
    let connections = listener.streams.iter().map(|route| &*route.name);
    let routes = requests.chain(connections).filter_map(rule_of);
    let routes: BTreeSet<ObjectKey> = routes.map(|(route, _)| route).collect();
    routes.len()
}

/// Whether all that it refers to is there, and may be referred to.
fn resolved(written: &kind::Listener, runs: &model::Listener) -> ConditionReport {
    let refs = written.tls.iter().flat_map(|tls| &tls.certificate_refs);
    let missing = refs.count().saturating_sub(runs.certificates.len());
    let carries = |kind: &&kind::RouteGroupKind| written.route_kinds().contains(&kind.kind);
    let listed = &written.allowed_routes.kinds;
    let strange = listed.iter().find(|kind| !carries(kind));
    let (status, reason, message) = match (missing, strange) {
        (0, None) => (
            ConditionStatus::True,
            "ResolvedRefs",
            "all that it refers to is there".to_owned(),
        ),
        (0, Some(kind)) => (
            ConditionStatus::False,
            "InvalidRouteKinds",
            format!("its protocol carries no {}", word(&kind.kind)),
        ),
        (missing, _) => (
            ConditionStatus::False,
            "RefNotPermitted",
            format!(
                "{missing} of its certificateRefs may not be referred to: they are in another namespace, which has no \
                 ReferenceGrant for them"
            ),
        ),
    };
    ConditionReport {
        r#type: "ResolvedRefs".to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        ..ConditionReport::default()
    }
}

#[cfg(test)]
mod tests;
