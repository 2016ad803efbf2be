//! What is written into the `status` of objects: conditions as they are, where the API server has others. Pure.
//!
//! Level-triggered: what an object has is compared with what it should have, as often as somebody looks, and what is equal is
//! not written. Our kinds and Gateways have conditions that are theirs alone (server-side apply). A route has a list for all
//! controllers, a BackendTLSPolicy too: theirs is taken over as it is, and the write is for the version that was read.

use serde_json::{Map, Value, json};
use usher_config::kind::{Kind, ObjectKey};

use super::cluster::Current;
use crate::status::ConditionReport;

/// Who we are, in lists of several controllers.
const CONTROLLER: &str = "usher.dev/control-plane";

/// Of its kinds.
const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// As Gateway API bounds them.
const MESSAGE_MAX: usize = 32_768;

/// Entries for several controllers.
const ENTRIES_MAX: usize = 32;

/// What is to be said of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Of all of it.
    pub(crate) conditions: Vec<ConditionReport>,
    /// Of a Gateway's listeners, in their order.
    pub(crate) listeners: Vec<ListenerVerdict>,
}

/// What is to be said of a listener.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerVerdict {
    pub(crate) name: String,
    /// Of routes that it takes.
    pub(crate) kinds: Vec<String>,
    /// How many routes it has.
    pub(crate) attached: usize,
    pub(crate) conditions: Vec<ConditionReport>,
}

/// How a status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Server-side apply: fields that are ours.
    Apply,
    /// Merge patch, for the version that it names.
    Merge,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub(super) key: ObjectKey,
    /// In which version its kind is served, and its plural.
    pub(super) resource: (String, String),
    /// Empty: it is the cluster's.
    pub(super) namespace: String,
    pub(super) how: How,
    pub(super) body: Value,
}

/// What an object's status should be; `None`: it is so, or the kind has none. `now`: RFC 3339.
pub(super) fn write(
    key: &ObjectKey,
    current: &Current<'_>,
    verdict: &Verdict,
    now: &str,
) -> Option<Write> {
    let conditions = verdict.conditions.as_slice();
    let (how, status) = match key.kind {
        Kind::ReferenceGrant => return None,
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute => {
            let parents = current
                .spec
                .pointer("/parentRefs")
                .and_then(Value::as_array);
            let refs = parents.map(Vec::as_slice).unwrap_or_default();
            let entries = Entries {
                list: "parents",
                reference: "parentRef",
                refs,
            };
            (How::Merge, entries.status(current, (conditions, now))?)
        }
        Kind::BackendTlsPolicy => {
            let targets = current
                .spec
                .pointer("/targetRefs")
                .and_then(Value::as_array);
            let refs = targets.map(Vec::as_slice).unwrap_or_default();
            let entries = Entries {
                list: "ancestors",
                reference: "ancestorRef",
                refs,
            };
            (How::Merge, entries.status(current, (conditions, now))?)
        }
        _ => (How::Apply, own(current, verdict, now)?),
    };
    let mut metadata = Map::new();
    let mut put = |name: &str, value: &str| metadata.insert(name.to_owned(), json!(value));
    put("name", key.name.as_str());
    if !current.namespace.is_empty() {
        put("namespace", current.namespace);
    }
    if how == How::Merge {
        put("resourceVersion", &current.version);
    }
    let body = json!({
        "apiVersion": current.resource.0, "kind": key.kind.to_string(), "metadata": metadata, "status": status,
    });
    Some(Write {
        key: key.clone(),
        resource: current.resource.clone(),
        namespace: current.namespace.to_owned(),
        how,
        body,
    })
}

/// Conditions that are ours alone, where others may have some of their own; `None`: they are so.
fn own(current: &Current<'_>, verdict: &Verdict, now: &str) -> Option<Value> {
    let known = current
        .status
        .get("conditions")
        .cloned()
        .unwrap_or_default();
    let wanted = of(&verdict.conditions, &known, current.generation, now);
    let has = |r#type: &Value| wanted.iter().any(|ours| ours["type"] == *r#type);
    let all = known.as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: Vec<&Value> = all.iter().filter(|one| has(&one["type"])).collect();
    let is_over = |one: &Value| {
        let r#type = one["type"].as_str().unwrap_or_default();
        ["PartiallyInvalid", "Warning"].contains(&r#type) && !has(&one["type"])
    };
    let is_so = !all.iter().any(is_over) && is_as(&ours, &wanted);
    if verdict.listeners.is_empty() {
        return (!is_so).then(|| json!({"conditions": wanted}));
    }
    let (listeners, are_so) = listeners(current, &verdict.listeners, now);
    (!is_so || !are_so).then(|| json!({"conditions": wanted, "listeners": listeners}))
}

/// Those of a Gateway, and whether they are there like that.
fn listeners(current: &Current<'_>, verdicts: &[ListenerVerdict], now: &str) -> (Vec<Value>, bool) {
    let known = current.status.get("listeners").and_then(Value::as_array);
    let known = known.map(Vec::as_slice).unwrap_or_default();
    let mut are_so = true;
    let wanted = verdicts.iter().map(|verdict| {
        let before = known.iter().find(|one| one["name"] == verdict.name);
        let there = before.map(|one| one["conditions"].clone());
        let there = there.unwrap_or_default();
        let conditions = of(&verdict.conditions, &there, current.generation, now);
        let kinds = verdict.kinds.iter();
        let kinds = kinds.map(|kind| json!({"group": GATEWAY_API, "kind": kind}));
        let wanted = json!({
            "name": verdict.name, "supportedKinds": kinds.collect::<Vec<_>>(), "attachedRoutes": verdict.attached,
            "conditions": conditions,
        });
        are_so &= before.is_some_and(|before| {
            let there = there.as_array().map(Vec::as_slice).unwrap_or_default();
            // Others may have left some of their own.
            let has = |r#type: &Value| conditions.iter().any(|ours| ours["type"] == *r#type);
            let there: Vec<&Value> = there.iter().filter(|one| has(&one["type"])).collect();
            let same = |field: &str| before.get(field) == wanted.get(field);
            same("supportedKinds") && same("attachedRoutes") && is_as(&there, &conditions)
        });
        wanted
    });
    let wanted = wanted.collect();
    (wanted, are_so)
}

/// A list that several controllers share, with an entry for each reference.
struct Entries<'s> {
    list: &'static str,
    reference: &'static str,
    refs: &'s [Value],
}

impl Entries<'_> {
    /// `None`: it is so.
    fn status(
        &self,
        current: &Current<'_>,
        (conditions, now): (&[ConditionReport], &str),
    ) -> Option<Value> {
        let known = current.status.get(self.list).and_then(Value::as_array);
        let known = known.map(Vec::as_slice).unwrap_or_default();
        let is_ours = |entry: &&Value| entry["controllerName"] == CONTROLLER;
        let ours: Vec<&Value> = known.iter().filter(is_ours).collect();
        let told = ["Accepted", "ResolvedRefs"];
        let conditions = conditions.iter();
        let conditions: Vec<ConditionReport> = conditions
            .filter(|one| told.contains(&one.r#type.as_str()))
            .cloned()
            .collect();
        let wanted: Vec<Value> = self
            .refs
            .iter()
            .take(ENTRIES_MAX)
            .map(|reference| {
                let before = ours.iter().find(|entry| entry[self.reference] == *reference);
                let before = before.map(|entry| entry["conditions"].clone());
                let conditions = of(&conditions, &before.unwrap_or_default(), current.generation, now);
                json!({self.reference: reference, "controllerName": CONTROLLER, "conditions": conditions})
            })
            .collect();
        let same = |(one, other): (&&Value, &Value)| {
            let list = |entry: &Value| entry["conditions"].as_array().cloned().unwrap_or_default();
            let (mine, theirs) = (list(one), list(other));
            let mine: Vec<&Value> = mine.iter().collect();
            one[self.reference] == other[self.reference] && is_as(&mine, &theirs)
        };
        if ours.len() == wanted.len() && ours.iter().zip(&wanted).all(same) {
            return None;
        }
        let others = known
            .iter()
            .filter(|entry| entry["controllerName"] != CONTROLLER);
        let all: Vec<Value> = others.cloned().chain(wanted).take(ENTRIES_MAX).collect();
        Some(json!({self.list: all}))
    }
}

/// Conditions as the API has them. `known`: those that are there, which say since when.
fn of(conditions: &[ConditionReport], known: &Value, generation: i64, now: &str) -> Vec<Value> {
    let known = known.as_array().map(Vec::as_slice).unwrap_or_default();
    let conditions = conditions.iter().map(|one| {
        let status = one.status.as_str();
        let mut before = known.iter();
        let before = before.find(|known| known["type"] == one.r#type && known["status"] == status);
        let since = before.and_then(|known| known["lastTransitionTime"].as_str());
        let message: String = one.message.chars().take(MESSAGE_MAX).collect();
        json!({
            "type": one.r#type, "status": status, "reason": one.reason, "message": message,
            "observedGeneration": generation, "lastTransitionTime": since.unwrap_or(now),
        })
    });
    conditions.collect()
}

/// Whether they say the same. How many proxies run it changes with each that comes: while the answer is the same, that is none.
fn is_as(known: &[&Value], wanted: &[Value]) -> bool {
    let same = |wanted: &Value| {
        let mut known = known.iter();
        let known = known.find(|known| known["type"] == wanted["type"]);
        known.is_some_and(|known| {
            let is_counted = wanted["type"] == "Programmed";
            let same = |field: &str| known[field] == wanted[field];
            same("status")
                && same("reason")
                && same("observedGeneration")
                && (is_counted || same("message"))
        })
    };
    known.len() == wanted.len() && wanted.iter().all(same)
}

#[cfg(test)]
mod tests;
