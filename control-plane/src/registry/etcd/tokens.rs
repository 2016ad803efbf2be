//! Join tokens in etcd: good at any control plane, and a use is one use wherever it is made.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{
    ATTEMPTS_MAX,
    connection::Connection,
    instances::grant,
    keys::{after, get, transaction},
};
use crate::{
    ca::token::{Change, Record, Refusal, TOKENS_MAX, TableError, TokenTable},
    registry::shared::SharedError,
};

const TOKENS: &str = "tokens/";

/// The tokens below a prefix.
pub struct EtcdTokens {
    etcd: Arc<Connection>,
    runtime: Handle,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    record: Record,
    /// Of the last use: who is not told whether it was counted finds out by this.
    #[serde(default)]
    used: String,
}

impl EtcdTokens {
    pub(super) fn new(etcd: Arc<Connection>, runtime: Handle) -> Self {
        Self { etcd, runtime }
    }

    async fn insert_now(&self, id: &str, record: &Record, now: u64) -> Result<bool, SharedError> {
        if self.count_now().await? >= TOKENS_MAX {
            return Ok(false);
        }
        // It is forgotten with its lease, a little after it has expired by anybody's clock.
        const MARGIN: u64 = 3600;
        let life = record.expires_at.saturating_sub(now) + MARGIN;
        let lease = grant(&self.etcd, Duration::from_secs(life)).await?;
        let key = self.etcd.key(&format!("{TOKENS}{id}"));
        let value = encoded(record, "");
        let call = |mut client: Client| {
            let options = PutOptions::new().with_lease(lease);
            let (key, value) = (key.clone(), value.clone());
            async move { client.put(key, value, Some(options)).await }
        };
        self.etcd.call(call).await?;
        Ok(true)
    }

    async fn change_now(&self, id: &str, change: Change<'_>) -> Result<(), Refusal> {
        let key = self.etcd.key(&format!("{TOKENS}{id}"));
        let used = uuid::Uuid::new_v4().simple().to_string();
        for _ in 0..ATTEMPTS_MAX {
            let call = |client| get(client, key.clone(), None);
            let mut answer = self.etcd.call(call).await.map_err(failed)?;
            let found = answer.take_kvs().pop();
            let seen = found
                .as_ref()
                .map_or(0, etcd_client::KeyValue::mod_revision);
            let kept: Option<Kept> =
                found.and_then(|pair| serde_json::from_slice(pair.value()).ok());
            if kept.as_ref().is_some_and(|kept| kept.used == used) {
                // It was, at an attempt that nobody told us of.
                return Ok(());
            }
            let record = change(kept.map(|kept| kept.record))?;
            let same = Compare::mod_revision(key.clone(), CompareOp::Equal, seen);
            let options = PutOptions::new().with_ignore_lease();
            let put = TxnOp::put(key.clone(), encoded(&record, &used), Some(options));
            let write = Txn::new().when([same]).and_then([put]);
            let call = |client| transaction(client, write.clone());
            if self.etcd.call(call).await.map_err(failed)? {
                return Ok(());
            }
        }
        let attempts = ATTEMPTS_MAX;
        Err(failed(SharedError::Contended { attempts }).into())
    }

    async fn count_now(&self) -> Result<u64, SharedError> {
        let prefix = self.etcd.key(TOKENS).into_bytes();
        let options = GetOptions::new()
            .with_range(after(&prefix))
            .with_count_only();
        let call = |client| get(client, prefix.clone(), Some(options.clone()));
        let answer = self.etcd.call(call).await?;
        Ok(u64::try_from(answer.count()).unwrap_or_default())
    }
}

impl TokenTable for EtcdTokens {
    fn insert(&self, id: &str, record: &Record, now: u64) -> Result<bool, TableError> {
        let insert = self.insert_now(id, record, now);
        self.runtime.block_on(insert).map_err(failed)
    }

    fn change(&self, id: &str, change: Change<'_>) -> Result<(), Refusal> {
        self.runtime.block_on(self.change_now(id, change))
    }

    fn count(&self) -> Result<u64, TableError> {
        self.runtime.block_on(self.count_now()).map_err(failed)
    }
}

fn encoded(record: &Record, used: &str) -> Vec<u8> {
    let (record, used) = (record.clone(), used.to_owned());
    serde_json::to_vec(&Kept { record, used }).unwrap_or_default()
}

fn failed(error: SharedError) -> TableError {
    TableError(Box::new(error))
}
