//! The mutating question: what makes a new pod one of the mesh. Pure.
//!
//! It is [`inject::patch`] that answers, so a pod comes out as `usher inject` would have written it.

use serde_json::{Value, json};

use super::review::{Cause, Denial, Operation, Request, Verdict};
use crate::inject::{self, Item, Outcome, Settings, Skip};

/// What its owner can do about a pod that is refused.
const ADVICE: &str =
    "a pod that is not meant for the mesh says so: the annotation usher.dev/inject: \"false\"";

/// What is said of an object with pods, or of a pod, that is to be created.
pub fn inject(request: Request, settings: &Settings) -> Verdict {
    // A pod that is there already keeps its containers: they cannot be changed.
    if !request.is_about_object() || request.operation != Operation::Create {
        return Verdict::allowed();
    }
    let object = named(request);
    let (patch, items) = inject::patch(&object, settings);
    let denied = refused(&items);
    if !denied.is_empty() {
        return Verdict::Denied(denial(denied));
    }
    let warnings = items.iter().flat_map(warnings).collect();
    match patch.is_empty() {
        true => Verdict::Allowed { warnings },
        false => Verdict::Patched {
            // Operations are text, numbers and what was read from JSON.
            patch: patch.iter().map(|operation| json!(operation)).collect(),
            warnings,
        },
    }
}

/// The object with its namespace: not all who ask have written it into the object, too.
fn named(request: Request) -> Value {
    let Request {
        namespace,
        mut object,
        ..
    } = request;
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|_| !namespace.is_empty()) {
        metadata
            .entry("namespace")
            .or_insert_with(|| Value::from(namespace));
    }
    object
}

fn refused(items: &[Item]) -> Vec<Cause> {
    let refused = items.iter().filter_map(|item| match &item.outcome {
        Outcome::Refused(faults) => Some((item, faults)),
        _ => None,
    });
    let causes = refused.flat_map(|(item, faults)| {
        faults.iter().map(|fault| Cause {
            field: fault.field.clone(),
            message: format!("{}: {fault}", item.object),
        })
    });
    causes.collect()
}

fn denial(causes: Vec<Cause>) -> Denial {
    let lines = causes.iter().map(|cause| cause.message.as_str());
    let lines: Vec<&str> = lines.chain([ADVICE]).collect();
    Denial {
        message: lines.join("\n"),
        causes,
        warnings: Vec::new(),
    }
}

/// What the author of a pod may not expect. That he has opted out he knows.
fn warnings(item: &Item) -> Vec<String> {
    let said = match &item.outcome {
        Outcome::Injected(remarks) => remarks.clone(),
        Outcome::Skipped(Skip::OptedOut | Skip::HasOurs) => Vec::new(),
        Outcome::Skipped(skip) => vec![format!("no sidecar: {skip}")],
        Outcome::Refused(_) | Outcome::Uninjected | Outcome::HadNone => Vec::new(),
    };
    let said = said.into_iter();
    said.map(|words| format!("{}: {words}", item.object))
        .collect()
}

#[cfg(test)]
mod tests;
