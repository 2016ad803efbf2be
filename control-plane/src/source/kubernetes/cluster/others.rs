//! Gateway API's objects are for other controllers, too: what of them is none of ours. Pure, total.
//!
//! A Gateway of another class is not read at all (a class that is nearly ours is ours, misspelt), nor is what a route has to do with such
//! a Gateway, or with a parent of a kind that this mesh has none of. A route that nothing is left of is another controller's.

use std::collections::BTreeSet;

use serde_json::Value;
use usher_config::{
    kind::{Choice as _, GatewayClass, ParentKind},
    parse::nearest,
};

use super::text::text;

/// The namespace and the name of a Gateway.
pub(crate) type GatewayName = (String, String);

/// Whether a Gateway is of another class.
pub(crate) fn is_other_class(gateway: &Value) -> bool {
    let class = text(gateway, "/spec/gatewayClassName");
    class.is_some_and(|class| {
        let ours = GatewayClass::ALL.iter().map(|(word, _)| *word);
        nearest(class, ours).is_none()
    })
}

/// A route without its parents that are others'; `None`: all of them are. `others`: Gateways of other classes.
pub(crate) fn ours_of_route(
    namespace: &str,
    mut route: Value,
    others: &BTreeSet<GatewayName>,
) -> Option<Value> {
    if let Some(Value::Array(parents)) = route.pointer_mut("/spec/parentRefs") {
        // One that names no parent at all has a mistake, which we tell of.
        let is_meant_for_some = !parents.is_empty();
        keep_ours(namespace, parents, others);
        if is_meant_for_some && parents.is_empty() {
            return None;
        }
    }
    Some(route)
}

/// Leaves of a route's parents those that are ours.
pub(super) fn keep_ours(namespace: &str, parents: &mut Vec<Value>, others: &BTreeSet<GatewayName>) {
    parents.retain(|parent| !is_others(namespace, parent, others));
}

fn is_others(namespace: &str, parent: &Value, others: &BTreeSet<GatewayName>) -> bool {
    let group = text(parent, "/group").unwrap_or("gateway.networking.k8s.io");
    let kind = text(parent, "/kind").unwrap_or("Gateway");
    let kinds = ParentKind::ALL.iter().map(|(word, _)| *word);
    let is_known =
        matches!(group, "" | "gateway.networking.k8s.io") && nearest(kind, kinds).is_some();
    if !is_known {
        return true;
    }
    let namespace = text(parent, "/namespace").unwrap_or(namespace).to_owned();
    let name = text(parent, "/name").unwrap_or_default().to_owned();
    kind == "Gateway" && others.contains(&(namespace, name))
}
