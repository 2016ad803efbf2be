//! Registrations in etcd, each under a lease that its sidecar renews through whichever control plane it reaches.
//!
//! The lease's name, which the sidecar holds, begins with etcd's number for it: whoever is asked to renew it needs to know
//! nothing else. A registration is replaced or taken out only in a transaction that compares what was there.

use std::{net::SocketAddr, time::Duration};

use etcd_client::{Client, Compare, CompareOp, Error, KeyValue, PutOptions, Txn, TxnOp};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use usher_config::{
    model::{PlaintextCallers, Revision},
    value::{InstanceName, SpiffeId},
};

use super::{
    ATTEMPTS_MAX, EtcdStore,
    connection::Connection,
    following::{Seen, follow},
    keys::get,
    watching::PAUSE,
};
use crate::registry::{
    callers::Caller,
    instances::{Instance, LEASE},
    shared::{
        Acknowledgement, Batch, Health, Permits, Registration, Shared, SharedError, WriteError,
    },
};

pub(super) const INSTANCES: &str = "instances/";

/// Who has left last, written together with that: whose registration goes without it did not renew its lease. No instance
/// has such a name, and control planes of before there was this key pass over it.
pub(super) const FAREWELL: &str = "instances/.left";

/// A registration's value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    address: SocketAddr,
    address_is_own: bool,
    healthy: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    health_reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    zone: String,
    identity: String,
    #[serde(default)]
    revision: u64,
    #[serde(default, skip_serializing_if = "<[Caller]>::is_empty")]
    callers: Vec<Caller>,
    lease: String,
}

impl Value {
    fn of(instance: &Instance, lease: &str) -> Self {
        Self {
            address: instance.address,
            address_is_own: instance.address_is_own,
            healthy: instance.healthy,
            health_reason: instance.health_reason.clone(),
            zone: instance.zone.clone(),
            identity: instance.identity.to_string(),
            revision: instance.revision,
            callers: instance.callers.to_vec(),
            lease: lease.to_owned(),
        }
    }

    fn registration(self, name: InstanceName) -> Option<Registration> {
        let instance = Instance {
            address: self.address,
            address_is_own: self.address_is_own,
            healthy: self.healthy,
            health_reason: self.health_reason,
            zone: self.zone,
            identity: self.identity.parse().ok()?,
            revision: self.revision,
            callers: self
                .callers
                .into_iter()
                .take(PlaintextCallers::MAX)
                .collect(),
        };
        Some(Registration {
            name,
            instance,
            lease: self.lease,
        })
    }
}

/// `None`: not one that this version can read.
pub(super) fn registration(key: &str, value: &[u8]) -> Option<Registration> {
    let name = key.strip_prefix(INSTANCES)?.parse().ok()?;
    let value: Value = serde_json::from_slice(value).ok()?;
    value.registration(name)
}

/// `<etcd's number, hex>.<what cannot be guessed>`.
fn lease_name(id: i64) -> String {
    format!("{id:x}.{}", uuid::Uuid::new_v4().simple())
}

fn lease_id(name: &str) -> Result<i64, WriteError> {
    let (id, _) = name.split_once('.').ok_or(WriteError::LeaseGone)?;
    i64::from_str_radix(id, 16).map_err(|_| WriteError::LeaseGone)
}

impl Shared for EtcdStore {
    fn health(&self) -> watch::Receiver<Health> {
        self.etcd.health()
    }

    fn committed(&self) -> watch::Receiver<Revision> {
        self.committed.subscribe()
    }

    fn follow(&self, events: mpsc::Sender<Batch>) -> BoxFuture<'static, ()> {
        let etcd = self.etcd.clone();
        Box::pin(async move {
            let mut seen = Seen::default();
            // It ends when nobody listens any more.
            while !events.is_closed() {
                let _ = follow(&etcd, &events, &mut seen).await;
                sleep(PAUSE).await;
            }
        })
    }

    fn position_of<'a>(
        &'a self,
        name: &'a InstanceName,
    ) -> BoxFuture<'a, Result<u64, SharedError>> {
        Box::pin(async move {
            let found = find(&self.etcd, name).await?;
            Ok(found.map_or(0, |pair| position(pair.mod_revision())))
        })
    }

    fn register<'a>(
        &'a self,
        name: &'a InstanceName,
        instance: Instance,
        permits: Permits<'a>,
    ) -> BoxFuture<'a, Result<(String, u64), WriteError>> {
        Box::pin(register(&self.etcd, name, instance, permits))
    }

    fn register_absent<'a>(
        &'a self,
        name: &'a InstanceName,
        instance: Instance,
    ) -> BoxFuture<'a, Result<(String, u64), WriteError>> {
        Box::pin(async move {
            let key = key_of(&self.etcd, name);
            let id = grant(&self.etcd, LEASE).await?;
            let written = replace(&self.etcd, (&key, 0), &instance, id).await;
            if written == Err(WriteError::LeaseGone) {
                // Nothing stays of an attempt that wrote it and whose answer was lost.
                let _ = timeout(PAUSE, self.etcd.client().lease_revoke(id)).await;
            }
            written
        })
    }

    fn renew<'a>(&'a self, lease: &'a str) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(async move {
            let id = lease_id(lease)?;
            match self.etcd.call(|client| keep_alive(client, id)).await? {
                true => Ok(()),
                false => Err(WriteError::LeaseGone),
            }
        })
    }

    fn update<'a>(
        &'a self,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<u64, WriteError>> {
        Box::pin(async move {
            let Registration {
                name,
                instance,
                lease,
            } = registration;
            let (key, id) = (key_of(&self.etcd, name), lease_id(lease)?);
            let value = encoded(instance, lease);
            let options = PutOptions::new().with_lease(id);
            let put = TxnOp::put(key.clone(), value, Some(options));
            let held = Compare::lease(key, CompareOp::Equal, id);
            let write = Txn::new().when([held]).and_then([put]);
            written(&self.etcd, write).await
        })
    }

    fn deregister<'a>(
        &'a self,
        name: &'a InstanceName,
        lease: &'a str,
    ) -> BoxFuture<'a, Result<u64, WriteError>> {
        Box::pin(async move {
            let (key, id) = (key_of(&self.etcd, name), lease_id(lease)?);
            let held = Compare::lease(key.clone(), CompareOp::Equal, id);
            let farewell = TxnOp::put(self.etcd.key(FAREWELL), name.to_string(), None);
            let write = Txn::new()
                .when([held])
                .and_then([TxnOp::delete(key, None), farewell]);
            let position = written(&self.etcd, write).await?;
            // It would end by itself in a moment.
            let _ = timeout(PAUSE, self.etcd.client().lease_revoke(id)).await;
            Ok(position)
        })
    }

    fn acknowledge(&self, applied: Acknowledgement) -> BoxFuture<'_, Result<(), SharedError>> {
        Box::pin(self.presence.say(&self.etcd, applied))
    }

    fn acknowledged(&self, position: u64) -> BoxFuture<'_, Result<bool, SharedError>> {
        Box::pin(self.presence.have_others_said(&self.etcd, position))
    }

    fn depart(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.presence.end(&self.etcd))
    }
}

async fn register(
    etcd: &Connection,
    name: &InstanceName,
    instance: Instance,
    permits: Permits<'_>,
) -> Result<(String, u64), WriteError> {
    let key = key_of(etcd, name);
    for _ in 0..ATTEMPTS_MAX {
        let found = find(etcd, name).await?;
        let seen = found.as_ref().map_or(0, KeyValue::mod_revision);
        let holder = found
            .as_ref()
            .and_then(|pair| serde_json::from_slice::<Value>(pair.value()).ok())
            .and_then(|value| value.identity.parse::<SpiffeId>().ok());
        // Whom configuration does not let be this service any more holds no name of it.
        if let Some(holder) = holder
            && holder != instance.identity
            && permits(&holder)
        {
            return Err(WriteError::Held(holder));
        }
        let id = grant(etcd, LEASE).await?;
        match replace(etcd, (&key, seen), &instance, id).await {
            Err(WriteError::LeaseGone) => {}
            done => return done,
        }
    }
    Err(SharedError::Contended {
        attempts: ATTEMPTS_MAX,
    }
    .into())
}

/// Writes an instance under the lease `id` in the place of what was `seen` there (0: nothing). It is not that:
/// [`WriteError::LeaseGone`].
async fn replace(
    etcd: &Connection,
    (key, seen): (&str, i64),
    instance: &Instance,
    id: i64,
) -> Result<(String, u64), WriteError> {
    let lease = lease_name(id);
    let options = PutOptions::new().with_lease(id);
    let put = TxnOp::put(key, encoded(instance, &lease), Some(options));
    let same = Compare::mod_revision(key, CompareOp::Equal, seen);
    let position = written(etcd, Txn::new().when([same]).and_then([put])).await?;
    Ok((lease, position))
}

/// The position of a write; what it compares was not so: [`WriteError::LeaseGone`].
async fn written(etcd: &Connection, write: Txn) -> Result<u64, WriteError> {
    let call = |mut client: Client| {
        let write = write.clone();
        async move { client.txn(write).await }
    };
    let answer = etcd.call(call).await?;
    if !answer.succeeded() {
        return Err(WriteError::LeaseGone);
    }
    let header = answer.header();
    Ok(position(header.map_or(0, |header| header.revision())))
}

fn key_of(etcd: &Connection, name: &InstanceName) -> String {
    etcd.key(&format!("{INSTANCES}{name}"))
}

async fn find(etcd: &Connection, name: &InstanceName) -> Result<Option<KeyValue>, SharedError> {
    let key = key_of(etcd, name);
    let mut answer = etcd.call(|client| get(client, key.clone(), None)).await?;
    Ok(answer.take_kvs().pop())
}

fn encoded(instance: &Instance, lease: &str) -> Vec<u8> {
    // Text and numbers: it cannot fail.
    serde_json::to_vec(&Value::of(instance, lease)).unwrap_or_default()
}

pub(super) async fn grant(etcd: &Connection, life: Duration) -> Result<i64, SharedError> {
    let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX).max(1);
    let call = |mut client: Client| async move { client.lease_grant(seconds, None).await };
    Ok(etcd.call(call).await?.id())
}

/// Whether there was such a lease.
pub(super) async fn keep_alive(mut client: Client, id: i64) -> Result<bool, Error> {
    match client.lease_keep_alive(id).await {
        Ok(_) => Ok(true),
        // The client's only word for it.
        Err(Error::LeaseKeepAliveError(why)) if why == "lease not found" => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn position(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}
