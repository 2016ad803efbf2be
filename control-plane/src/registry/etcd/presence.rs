//! Which control planes live, and how far the proxies of each have followed: an instance that leaves waits for all of them.
//!
//! One key for each control plane, under a lease that is renewed while it lives. A control plane that dies holds up others'
//! goodbyes for as long as its lease lasts.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, PutOptions};
use tokio::{
    sync::Mutex,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    connection::Connection,
    instances::{grant, keep_alive},
    keys::range,
};
use crate::registry::shared::{Acknowledgement, SharedError};

const REPLICAS: &str = "replicas/";

/// How long a dead control plane is waited for.
const LEASE: Duration = Duration::from_secs(9);

/// How long a control plane that ends may take to say so.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// This control plane, as the others see it.
pub(super) struct Presence {
    key: String,
    said: Arc<Mutex<Said>>,
    renewing: AbortHandle,
}

#[derive(Default)]
struct Said {
    lease: Option<i64>,
    /// `None`: nothing yet, or goodbye.
    applied: Option<Acknowledgement>,
    /// etcd has it under this lease.
    is_written: bool,
    is_over: bool,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Presence {
    /// Lives from its first word on. In a tokio runtime.
    pub(super) fn new(etcd: &Arc<Connection>) -> Self {
        let key = format!("{REPLICAS}{}", uuid::Uuid::new_v4().simple());
        let said = Arc::<Mutex<Said>>::default();
        let renewing = tokio::spawn(renew(etcd.clone(), key.clone(), said.clone()));
        Self {
            key,
            said,
            renewing: renewing.abort_handle(),
        }
    }

    /// Tells the others how far our proxies are. What cannot be written now is as soon as etcd takes it.
    pub(super) async fn say(
        &self,
        etcd: &Connection,
        applied: Acknowledgement,
    ) -> Result<(), SharedError> {
        let mut said = self.said.lock().await;
        if said.is_over {
            return Ok(());
        }
        said.applied = Some(applied);
        write(etcd, &self.key, &mut said).await
    }

    /// For good; what cannot be said ends with its lease.
    pub(super) async fn end(&self, etcd: &Connection) {
        self.renewing.abort();
        let mut said = self.said.lock().await;
        said.is_over = true;
        if let Some(lease) = said.lease.take() {
            let revoke = |mut client: Client| async move { client.lease_revoke(lease).await };
            let _ = timeout(GOODBYE_MAX, etcd.call(revoke)).await;
        }
    }

    /// Whether all others have applied what stands at `position`.
    pub(super) async fn have_others_said(
        &self,
        etcd: &Connection,
        position: u64,
    ) -> Result<bool, SharedError> {
        let all = range(etcd, REPLICAS, None).await?;
        let mut others = all.iter().filter(|(key, _)| **key != self.key);
        Ok(others.all(|(_, value)| {
            let applied = serde_json::from_slice::<Acknowledgement>(value);
            // Of another version: it is not waited for in words that it does not have.
            applied.map_or(true, |applied| applied.covers(position))
        }))
    }
}

async fn write(etcd: &Connection, key: &str, said: &mut Said) -> Result<(), SharedError> {
    let Some(applied) = &said.applied else {
        return Ok(());
    };
    let value = serde_json::to_vec(applied).unwrap_or_default();
    said.is_written = false;
    let lease = match said.lease {
        Some(lease) => lease,
        None => *said.lease.insert(grant(etcd, LEASE).await?),
    };
    let key = etcd.key(key);
    let call = |mut client: Client| {
        let options = PutOptions::new().with_lease(lease);
        let (key, value) = (key.clone(), value.clone());
        async move { client.put(key, value, Some(options)).await }
    };
    let written = etcd.call(call).await;
    if let Err(SharedError::Refused { .. }) = &written {
        // It has ended meanwhile; the next attempt takes another one.
        said.lease = None;
    }
    said.is_written = written.is_ok();
    written.map(drop)
}

async fn renew(etcd: Arc<Connection>, key: String, said: Arc<Mutex<Said>>) {
    loop {
        sleep(LEASE / 3).await;
        let mut said = said.lock().await;
        if let Some(lease) = said.lease
            && etcd.call(|client| keep_alive(client, lease)).await == Ok(false)
        {
            said.lease = None;
        }
        if said.lease.is_none() || !said.is_written {
            // What cannot be written now is written at the next turn.
            let _ = write(&etcd, &key, &mut said).await;
        }
    }
}
