//! A batch as it travels: responses, cut where they grow large, and the `Revision` that closes them.

use prost::Message as _;
use prost_types::Any;
use usher_config::wire::{
    discovery::{DeltaDiscoveryResponse, Resource as WireResource},
    type_url, v1,
};

use crate::snapshot::Snapshot;

use super::{Topic, subscription::Part};

/// A response is cut before it grows beyond this: receivers refuse messages over 4 MiB (gRPC's default), and a
/// part of a batch that large would hold up everything behind it on the connection.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// The names that a response is about.
pub(super) fn names(response: &DeltaDiscoveryResponse) -> Vec<String> {
    let resources = response
        .resources
        .iter()
        .map(|resource| resource.name.clone());
    resources
        .chain(response.removed_resources.iter().cloned())
        .collect()
}

/// A part as one response, or several where it is large.
pub(super) fn responses(mut part: Part) -> Vec<(Topic, DeltaDiscoveryResponse)> {
    let (topic, type_url) = (part.topic, part.topic.type_url().to_owned());
    let empty = || DeltaDiscoveryResponse {
        type_url: type_url.clone(),
        ..Default::default()
    };
    let mut all = Vec::new();
    let (mut current, mut size) = (empty(), 0);
    for (name, resource) in part.resources {
        let aliases = part.aliases.remove(&name).unwrap_or_default();
        let length = name.len() + resource.body.len() + 64 * aliases.len() + 128;
        if size > 0 && size + length > RESPONSE_BYTES_MAX {
            all.push((topic, std::mem::replace(&mut current, empty())));
            size = 0;
        }
        size += length;
        current.resources.push(WireResource {
            version: resource.version.as_ref().into(),
            resource: Some(Any {
                type_url: type_url.clone(),
                value: resource.body.to_vec(),
            }),
            name,
            aliases: aliases.into_iter().collect(),
        });
    }
    for name in part.removed {
        if size > 0 && size + name.len() > RESPONSE_BYTES_MAX {
            all.push((topic, std::mem::replace(&mut current, empty())));
            size = 0;
        }
        size += name.len();
        current.removed_resources.push(name);
    }
    all.push((topic, current));
    all
}

/// The last of a batch.
pub(super) fn closing_response(snapshot: &Snapshot) -> DeltaDiscoveryResponse {
    let revision = snapshot.revision();
    let value = v1::Revision::from(revision).encode_to_vec();
    let domain = snapshot
        .trust_bundle
        .as_ref()
        .map_or("mesh", |(domain, _)| domain);
    DeltaDiscoveryResponse {
        type_url: type_url::REVISION.to_owned(),
        resources: vec![WireResource {
            version: revision.number.to_string(),
            resource: Some(Any {
                type_url: type_url::REVISION.to_owned(),
                value,
            }),
            name: domain.to_owned(),
            aliases: Vec::new(),
        }],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
