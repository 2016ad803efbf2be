//! What a watcher is told, as `usher.v1.Registry/Watch` says it.

use std::pin::Pin;

use futures_util::{Stream, stream};
use tonic::Status;
use usher_config::wire::v1::{self, WatchResponse, change::Kind};

use crate::{
    status::{Change, ChangeReport, EndpointReport},
    watch::{Told, Watch},
};

/// Until the watcher goes, or there is a reason to end it.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

pub(super) fn responses(watch: Watch) -> Responses {
    let told = stream::unfold(watch, async |mut watch| {
        let told = watch.next().await?;
        Some((response(told), watch))
    });
    Box::pin(told)
}

fn response(told: Told) -> Result<WatchResponse, Status> {
    match told {
        Told::Changes(changes) => Ok(WatchResponse {
            changes: changes.iter().map(change).collect(),
            synced: false,
        }),
        Told::Synced => Ok(WatchResponse {
            changes: Vec::new(),
            synced: true,
        }),
        Told::Ended(why) => Err(Status::unavailable(why)),
    }
}

fn change(change: &ChangeReport) -> v1::Change {
    let kind = match change.change {
        Change::Added => Kind::Added,
        Change::Changed => Kind::Changed,
        Change::Removed => Kind::Removed,
    };
    let addresses = change.virtual_addresses.iter();
    v1::Change {
        kind: kind.into(),
        namespace: change.namespace.clone(),
        service: change.service.clone(),
        instance: change.instance.as_ref().map(instance),
        ports: change.ports.iter().copied().map(u32::from).collect(),
        virtual_addresses: addresses.map(ToString::to_string).collect(),
    }
}

fn instance(instance: &EndpointReport) -> v1::InstanceStatus {
    v1::InstanceStatus {
        instance: instance.instance.clone(),
        address: instance.address.to_string(),
        healthy: instance.healthy,
        health_reason: instance.health_reason.clone(),
        zone: instance.zone.clone(),
        revision: instance.revision,
    }
}

#[cfg(test)]
mod tests;
