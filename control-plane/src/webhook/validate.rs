//! The validating question: whether an object of the mesh's configuration would come into force.
//!
//! The judge is the state's ([`State::judge`]): the decoder, the reading beside what is in force, the compiler. Gateway API's objects are
//! for others, too: what is surely another controller's is not ours to refuse.

use std::time::SystemTime;

use serde_json::Value;
use usher_config::{
    kind::{Choice as _, GatewayClass, Kind, ObjectKey},
    parse::nearest,
    value::Name,
};

use super::review::{Cause, Denial, Request, Verdict};
use crate::{
    state::{Judged, State},
    status::MistakeReport,
};

/// Gateway API's group.
const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// What is said of an object that is to be stored. Blocks for as long as the mesh takes to be compiled.
pub(super) fn validate(request: Request, mesh: &State, now: SystemTime) -> Verdict {
    if !request.is_about_object() || is_others(&request, |key| mesh.has_object(key)) {
        return Verdict::allowed();
    }
    let title = request.title();
    let judged = mesh.judge(&named(request), now);
    let Judged { mistakes, warnings } = judged;
    match mistakes.is_empty() {
        true => Verdict::Allowed { warnings },
        false => Verdict::Denied(denial(&title, mistakes, warnings)),
    }
}

/// Of what is to be made, the API server has the name only afterwards where it gives it itself.
fn named(request: Request) -> Value {
    let Request {
        namespace,
        mut object,
        ..
    } = request;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if !metadata.contains_key("name")
            && let Some(Value::String(begin)) = metadata.get("generateName")
        {
            let name = format!("{begin}00000");
            metadata.insert("name".to_owned(), Value::from(name));
        }
        if !namespace.is_empty() {
            metadata
                .entry("namespace")
                .or_insert_with(|| Value::from(namespace));
        }
    }
    object
}

fn denial(title: &str, mistakes: Vec<MistakeReport>, warnings: Vec<String>) -> Denial {
    let causes = mistakes.into_iter().map(|mistake| {
        let MistakeReport { path, message, .. } = mistake;
        let message = match path.as_str() {
            "" => format!("{title}: {message}"),
            path => format!("{title}: {path}: {message}"),
        };
        Cause {
            field: path,
            message,
        }
    });
    let causes: Vec<Cause> = causes.collect();
    let lines: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
    Denial {
        message: lines.join("\n"),
        causes,
        warnings,
    }
}

/// Whether an object of Gateway API is surely another controller's: a Gateway of another class (which is not ours, misspelt), a
/// BackendTLSPolicy that says more than ours can, or a route that is not in force here and that no parent makes ours. A parent is ours if it is a Service, or a Gateway that
/// is in force; whoever makes his route before its Gateway hears of mistakes when both are there (`usher status`).
fn is_others(request: &Request, is_known: impl Fn(&ObjectKey) -> bool) -> bool {
    let object = &request.object;
    let text = |way: &str| object.pointer(way).and_then(Value::as_str);
    let group = text("/apiVersion").and_then(|version| version.split_once('/'));
    if group.is_none_or(|(group, _)| group != GATEWAY_API) {
        return false;
    }
    let Some(kind) = text("/kind").and_then(word::<Kind>) else {
        return false;
    };
    match kind {
        Kind::Gateway => text("/spec/gatewayClassName").is_some_and(|class| {
            let ours = GatewayClass::ALL.iter().map(|(word, _)| *word);
            nearest(class, ours).is_none()
        }),
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute => {
            let own = text("/metadata/name").and_then(|name| key(kind, &request.namespace, name));
            let parents = object.pointer("/spec/parentRefs").and_then(Value::as_array);
            let parents = parents.map(Vec::as_slice).unwrap_or_default();
            let theirs = |parent: &Value| is_their_gateway(parent, &request.namespace, &is_known);
            !own.is_some_and(|own| is_known(&own))
                && !parents.is_empty()
                && parents.iter().all(theirs)
        }
        // Services are everybody's to target. What we have no words for, another controller's policy says.
        Kind::BackendTlsPolicy => {
            let own = text("/metadata/name").and_then(|name| key(kind, &request.namespace, name));
            let refs = object.pointer("/spec/validation/caCertificateRefs");
            let mut refs = refs.and_then(Value::as_array).into_iter().flatten();
            let theirs = refs.any(|one| one.get("kind").is_some_and(|kind| kind != "ConfigMap"))
                || object.pointer("/spec/options").is_some();
            theirs && !own.is_some_and(|own| is_known(&own))
        }
        _ => false,
    }
}

/// Whether a parent is a Gateway that nobody here knows.
fn is_their_gateway(
    parent: &Value,
    namespace: &str,
    is_known: impl Fn(&ObjectKey) -> bool,
) -> bool {
    let text = |name: &str| parent.get(name).and_then(Value::as_str);
    if text("kind").is_some_and(|kind| kind != "Gateway") {
        return false;
    }
    let namespace = text("namespace").unwrap_or(namespace);
    let gateway = text("name").and_then(|name| key(Kind::Gateway, namespace, name));
    gateway.is_some_and(|gateway| !is_known(&gateway))
}

fn key(kind: Kind, namespace: &str, name: &str) -> Option<ObjectKey> {
    let namespace = match namespace {
        "" => "default",
        namespace => namespace,
    };
    Some(ObjectKey {
        kind,
        namespace: namespace.parse::<Name>().ok()?,
        name: name.parse::<Name>().ok()?,
    })
}

fn word<C: usher_config::kind::Choice>(text: &str) -> Option<C> {
    let known = C::ALL.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests;
