//! What we knew, on disk, so that a restart without a control plane serves.
//!
//! The file is one `DeltaDiscoveryResponse` with everything in it: the protocol's own encoding, read by the
//! protocol's own total decoder, so that a file of another version loses single resources at most. Addresses at which
//! nobody of the mesh is are in it as the protocol says that, as removed.

use std::{io, time::Instant};

use prost::Message;
use prost_types::Any;
use tracing::warn;

use usher_config::wire::{
    SHAPE,
    discovery::{DeltaDiscoveryResponse, Resource},
    type_url, v1,
};

use super::{
    known::{Known, Received, Staged, Versioned},
    subscription::Subscription,
};
use crate::{snapshot::Change, state_dir::StateDir};

const FILE: &str = "last-known-good.pb";

/// Everything that `subscription` holds, as the file's bytes.
pub fn encode(subscription: &Subscription) -> Vec<u8> {
    let Known {
        services,
        endpoints,
        inbound,
        gateway,
        trust,
        revision,
    } = subscription.known();
    let mut resources = Vec::new();
    resources.extend(
        services
            .iter()
            .map(|(name, held)| resource::<_, v1::Service>(type_url::SERVICE, name, held)),
    );
    resources.extend(
        endpoints
            .iter()
            .map(|(name, held)| resource::<_, v1::Endpoint>(type_url::ENDPOINT, name, held)),
    );
    resources.extend(inbound.iter().map(|held| {
        resource::<_, v1::InboundPolicy>(type_url::INBOUND_POLICY, &held.model.service, held)
    }));
    resources.extend(
        gateway
            .iter()
            .map(|held| resource::<_, v1::Gateway>(type_url::GATEWAY, &held.model.name, held)),
    );
    resources.extend(trust.iter().map(|held| {
        resource::<_, v1::TrustBundle>(type_url::TRUST_BUNDLE, &held.model.trust_domain, held)
    }));
    resources.extend(revision.iter().map(|revision| {
        let held = Versioned {
            version: revision.number.to_string(),
            model: revision.clone(),
        };
        resource::<_, v1::Revision>(type_url::REVISION, &revision.number, &held)
    }));
    DeltaDiscoveryResponse {
        system_version_info: shape(),
        resources,
        removed_resources: subscription.nobodys().collect(),
        ..Default::default()
    }
    .encode_to_vec()
}

/// What this program understands of the protocol.
fn shape() -> String {
    format!("{SHAPE:016x}")
}

fn resource<M, W>(type_url: &str, name: &impl ToString, held: &Versioned<M>) -> Resource
where
    W: Message + for<'a> From<&'a M>,
{
    let value = W::from(&held.model).encode_to_vec();
    Resource {
        version: held.version.clone(),
        resource: Some(Any {
            type_url: type_url.to_owned(),
            value,
        }),
        name: name.to_string(),
        aliases: Vec::new(),
    }
}

/// Takes the file's content into `subscription`; what cannot be read is left out. `None`: there was no usable
/// configuration, because no revision had ever been complete.
pub fn decode(bytes: &[u8], subscription: &mut Subscription, now: Instant) -> Option<Change> {
    let file = match DeltaDiscoveryResponse::decode(bytes) {
        Ok(file) => file,
        Err(error) => {
            warn!(%error, "last known good configuration is unreadable and ignored");
            return None;
        }
    };
    let mut staged = Staged::default();
    // What another program wrote down is what it understood: all serves until it is told anew, whole.
    let is_whole = file.system_version_info == shape();
    let resources = file.resources.into_iter().map(|mut resource| {
        if !is_whole {
            resource.version.clear();
        }
        resource
    });
    for resource in &resources.collect::<Vec<_>>() {
        let type_url = resource
            .resource
            .as_ref()
            .map(|any| any.type_url.as_str())
            .unwrap_or_default();
        match Received::decode(type_url, resource) {
            Ok(Received::Service(held)) => {
                drop(staged.services.insert(held.model.name.clone(), Some(held)))
            }
            Ok(Received::Endpoint(held)) => {
                drop(staged.endpoints.insert(held.model.name.clone(), Some(held)))
            }
            Ok(Received::InboundPolicy(held)) => staged.inbound = Some(held),
            Ok(Received::Gateway(held)) => staged.gateway = Some(Some(held)),
            Ok(Received::TrustBundle(held)) => staged.trust = Some(held),
            Ok(Received::Revision(revision)) => staged.revision = Some(revision),
            Err(error) => warn!(
                name = resource.name,
                error, "last known good resource is unusable and ignored"
            ),
        }
    }
    staged.revision.as_ref()?;
    for name in &file.removed_resources {
        subscription.restore_nobody(name, now);
    }
    Some(subscription.restore(staged, now))
}

/// Whether the file's content is of a mesh that has one of `roots` (DER): in another one its names and addresses mean
/// others. Roots change one after the other, so an older content of the same mesh has one of them.
pub fn is_of(bytes: &[u8], roots: &[Vec<u8>]) -> bool {
    let file = DeltaDiscoveryResponse::decode(bytes).unwrap_or_default();
    let mut bundles = file.resources.iter().filter_map(|resource| {
        let any = resource.resource.as_ref()?;
        let is_bundle = any.type_url == type_url::TRUST_BUNDLE;
        is_bundle.then(|| v1::TrustBundle::decode(&*any.value).ok())?
    });
    bundles.any(|bundle| bundle.roots_der.iter().any(|root| roots.contains(root)))
}

/// Reads the file, if there is one.
///
/// # Errors
/// Whatever the file system says.
pub fn load(directory: &StateDir) -> io::Result<Option<Vec<u8>>> {
    directory.read(FILE)
}

/// Replaces the file. Blocking: it waits for the disk.
///
/// # Errors
/// Whatever the file system says; the old file is then still there.
pub fn save(directory: &StateDir, bytes: &[u8]) -> io::Result<()> {
    directory.write(FILE, bytes)
}

/// Removes the file.
///
/// # Errors
/// Whatever the file system says.
pub fn remove(directory: &StateDir) -> io::Result<()> {
    directory.remove(FILE)
}
