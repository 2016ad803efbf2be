//! The mesh's roots in etcd, and what control planes say of themselves: public things only.
//!
//! ```text
//! <prefix>/ca/roots/<version>   one key for each version, made once: whoever makes it first has decided it
//! <prefix>/ca/signers/<id>      what a control plane says
//! <prefix>/ca/grants/<id>       an intermediate for one that asked
//! ```
//!
//! Whoever may write here can let anybody into the mesh, as they can with join tokens and configuration: etcd is trusted for
//! what it holds. Whoever may only read finds nothing that helps to be somebody else.

use std::{collections::BTreeMap, sync::Arc};

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    connection::Connection,
    keys::{put, range, transaction},
    tables::Entries,
};
use crate::{
    ca::{
        roots::RootSet,
        trust::{Answer, Grant, Shared, Signer, TrustError, TrustStore},
    },
    registry::shared::SharedError,
};

const CA: &str = "ca/";
const ROOTS: &str = "ca/roots/";
const SIGNERS: &str = "ca/signers/";
const GRANTS: &str = "ca/grants/";

/// Below a prefix of etcd.
pub struct EtcdTrust {
    etcd: Arc<Connection>,
}

impl From<SharedError> for TrustError {
    fn from(error: SharedError) -> Self {
        Self(Box::new(error))
    }
}

impl EtcdTrust {
    pub(super) fn new(etcd: Arc<Connection>) -> Self {
        Self { etcd }
    }

    async fn read_now(&self) -> Result<Shared, TrustError> {
        let all = range(&self.etcd, CA, None).await?;
        let newest = all.range(ROOTS.to_owned()..);
        let newest = newest.take_while(|(key, _)| key.starts_with(ROOTS)).last();
        let roots = newest.map(|(key, value)| decoded::<RootSet>(key, value));
        Ok(Shared {
            roots: roots.transpose()?,
            signers: below(&all, SIGNERS),
            grants: below(&all, GRANTS),
        })
    }

    async fn write_roots_now(&self, next: RootSet) -> Result<bool, TrustError> {
        let key = self.etcd.key(&format!("{ROOTS}{:020}", next.version));
        let value = encoded(&next)?;
        let created = || {
            let absent = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
            let put = TxnOp::put(key.clone(), value.clone(), None);
            Txn::new().when([absent]).and_then([put])
        };
        let call = |client| transaction(client, created());
        if self.etcd.call(call).await? {
            return Ok(true);
        }
        // An answer that was lost may have been ours.
        Ok(self.read_now().await?.roots.as_ref() == Some(&next))
    }

    async fn put_now(&self, key: String, value: Vec<u8>) -> Result<(), TrustError> {
        let key = self.etcd.key(&key);
        let call = |client| put(client, key.clone(), value.clone());
        Ok(self.etcd.call(call).await?)
    }

    async fn forget_now(&self, id: String) -> Result<(), TrustError> {
        for table in [SIGNERS, GRANTS] {
            let key = self.etcd.key(&format!("{table}{id}"));
            let call = |mut client: Client| {
                let key = key.clone();
                async move { client.delete(key, None).await }
            };
            self.etcd.call(call).await?;
        }
        Ok(())
    }
}

impl TrustStore for EtcdTrust {
    fn read(&self) -> Answer<'_, Shared> {
        Box::pin(self.read_now())
    }

    fn write_roots(&self, next: RootSet) -> Answer<'_, bool> {
        Box::pin(self.write_roots_now(next))
    }

    fn say(&self, id: String, signer: Signer) -> Answer<'_, ()> {
        Box::pin(async move {
            self.put_now(format!("{SIGNERS}{id}"), encoded(&signer)?)
                .await
        })
    }

    fn grant(&self, id: String, grant: Grant) -> Answer<'_, ()> {
        Box::pin(async move {
            self.put_now(format!("{GRANTS}{id}"), encoded(&grant)?)
                .await
        })
    }

    fn forget(&self, id: String) -> Answer<'_, ()> {
        Box::pin(self.forget_now(id))
    }
}

/// What a newer version of this program wrote in words that we do not have is passed over.
fn below<T: DeserializeOwned>(all: &Entries, table: &str) -> BTreeMap<String, T> {
    let entries = all.range(table.to_owned()..);
    let entries = entries.take_while(|(key, _)| key.starts_with(table));
    entries
        .filter_map(|(key, value)| {
            let id = key.strip_prefix(table)?.to_owned();
            Some((id, serde_json::from_slice(value).ok()?))
        })
        .collect()
}

fn decoded<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, TrustError> {
    serde_json::from_slice(value)
        .map_err(|error| TrustError(format!("{key} in etcd is not ours: {error}").into()))
}

fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, TrustError> {
    serde_json::to_vec(value).map_err(|error| TrustError(Box::new(error)))
}
