//! Sidecars for pods: manifests + settings → manifests + what became of each object.
//!
//! Pure, and the same for whoever asks: `usher inject` has texts, admission has one object and wants a patch. Texts are
//! changed only where they have to be (see [`yaml`]). A pod that cannot have a sidecar is refused or skipped with
//! the reason, never let through half way: what is not in the mesh is not protected by it.

pub mod yaml;
mod settings;
mod fault;
mod kinds;
mod annotations;
mod admit;
mod plan;
mod environment;
mod volumes;
mod jobs;
mod sidecar;
mod probes;
mod pod;
mod text;

use serde_json::Value;

use self::{
    kinds::carriers,
    pod::Verdict,
    yaml::{Node, Operation},
};

pub use admit::Skip;
pub use annotations::{ANNOTATIONS, PREFIX};
pub use fault::Fault;
pub use settings::{Mode, PROGRAM, Proof, PullPolicy, Settings, Style};
pub use text::{Changed, Complaint, Document, Stranger, change};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Wish<'a> {
    /// Put sidecars in.
    Inject(&'a Settings),
    /// Take ours out.
    Uninject,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has a sidecar now; and what its owner may want to know.
    Injected(Vec<String>),
    /// Its sidecar is gone.
    Uninjected,
    /// It is as it was, and why.
    Skipped(Skip),
    /// It had no sidecar of ours to take out.
    HadNone,
    /// It is as it was, and must not be used like that.
    Refused(Vec<Fault>),
}

/// One object with pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// `Deployment bank/account`
    pub object: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Does what is asked for to every object with pods in `root`, and says what became of each, in order.
pub fn apply(root: &mut Node, wish: Wish<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    for carrier in carriers(root) {
        let object = carrier.identity.to_string();
        let outcome = match wish {
            Wish::Inject(settings) => inject_one(root, &carrier, settings),
            Wish::Uninject => match carrier.template_mut(root).is_some_and(pod::uninject) {
                true => Outcome::Uninjected,
                false => Outcome::HadNone,
            },
        };
        items.push(Item { object, outcome });
    }
    items
}

fn inject_one(root: &mut Node, carrier: &kinds::Carrier, settings: &Settings) -> Outcome {
    let template_path = carrier.template_path();
    let mut faults = Vec::new();
    if !carrier.way.is_empty()
        && let Some(object) = carrier.object(root)
    {
        let misplaced = annotations::misplaced(object, &carrier.way.join("."));
        faults.extend(
            misplaced
                .into_iter()
                .map(|fault| fault.below(&carrier.path)),
        );
    }
    let Some(template) = carrier.template_mut(root) else {
        faults.push(Fault::new(
            template_path,
            "nothing",
            "the template of its pods",
        ));
        return Outcome::Refused(faults);
    };
    // Whatever is refused stays as it was.
    let mut changed = template.clone();
    match pod::inject(&mut changed, &carrier.identity, settings) {
        Ok(_) if !faults.is_empty() => Outcome::Refused(faults),
        Ok(Verdict::Injected(remarks)) => {
            *template = changed;
            Outcome::Injected(remarks)
        }
        Ok(Verdict::Skipped(skip)) => Outcome::Skipped(skip),
        Err(more) => {
            faults.extend(more.into_iter().map(|fault| fault.below(&template_path)));
            Outcome::Refused(faults)
        }
    }
}

/// For admission: the patch that puts sidecars into `object`, and what became of it and of what it holds.
pub fn patch(object: &Value, settings: &Settings) -> (Vec<Operation>, Vec<Item>) {
    let from = Node::from(object);
    let mut target = from.clone();
    let items = apply(&mut target, Wish::Inject(settings));
    (yaml::patch(&from, &target), items)
}

#[cfg(test)]
mod tests;
