//! Which services take plaintext, and whose word that is: for who has to know it before anything is compiled.

use std::collections::{BTreeMap, BTreeSet};

use usher_config::{
    kind::{Object, ObjectKey},
    model::MtlsMode,
    value::ServiceName,
};

use crate::registry::World;

use super::{
    access,
    index::Index,
    targets::{Target, Targets},
};

/// What holds for these services, as far as they exist, and who decided it; `None`: nobody, it is the default.
pub fn mtls_modes(
    world: &World,
    services: &BTreeSet<ServiceName>,
) -> BTreeMap<ServiceName, (MtlsMode, Option<ObjectKey>)> {
    let mut ignored = Vec::new();
    let index = Index::new(world, &mut ignored);
    let targets = Targets::new(&index, &mut ignored);
    let existing = services
        .iter()
        .filter(|name| index.services.contains_key(*name));
    existing
        .map(|name| (name.clone(), access::mode(&index, &targets, name)))
        .collect()
}

/// Whether an object may have a word in it.
pub fn may_decide_mtls(object: &Object, service: &ServiceName) -> bool {
    match object {
        Object::Mesh(_) => true,
        Object::AccessPolicy(policy) => {
            let namespace = policy.full_name().namespace;
            let holds = access::targets_of(service);
            let targets = policy.spec.target_refs.iter();
            let mut targets = targets.map(|reference| Target::of(reference, &namespace));
            targets.any(|target| holds.contains(&target))
        }
        _ => false,
    }
}
