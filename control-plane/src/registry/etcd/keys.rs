//! Reading and writing keys: ranges of one moment, and transactions that compare the pointer.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, GetOptions, GetResponse, PutOptions, Txn,
    TxnOp,
};

use super::{
    POINTER,
    batch::{self, Changes, Pointer, STAGED},
    connection::{Connection, reading},
    tables::Entries,
};
use crate::registry::{
    StoreError,
    embedded::{read, unreadable, written},
    shared::SharedError,
};

/// Keys in one answer.
const PAGE: i64 = 100;

/// Where something was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadAt {
    /// The store's position at that moment.
    pub(super) store: i64,
    /// The position of the pointer's last move; 0: there is none.
    pub(super) pointer: i64,
}

pub(super) async fn pointer(etcd: &Connection) -> Result<(Pointer, ReadAt), StoreError> {
    let key = etcd.key(POINTER);
    let answer = etcd.call(|client| get(client, key.clone(), None)).await?;
    let store = answer.header().map_or(0, |header| header.revision());
    let Some(pair) = answer.kvs().first() else {
        let at = ReadAt { store, pointer: 0 };
        return Ok((Pointer::default(), at));
    };
    let at = ReadAt {
        store,
        pointer: pair.mod_revision(),
    };
    Ok((read("pointer", pair.value())?, at))
}

/// Puts changes and the pointer in force together, if the pointer has not moved since `seen`. What was staged for this
/// revision or earlier ones is garbage then, unless the pointer says otherwise.
pub(super) async fn move_pointer(
    etcd: &Connection,
    seen: i64,
    next: &Pointer,
    changes: &Changes,
) -> Result<bool, StoreError> {
    let value = written(next)?;
    let call = |client| {
        let parts = batch::batches(changes).concat();
        let mut operations = operations(etcd, &parts);
        operations.push(TxnOp::put(etcd.key(POINTER), value.clone(), None));
        if next.pieces == 0 {
            let (first, end) = (
                etcd.key(&format!("{STAGED}/")),
                etcd.key(&format!("{STAGED}/{:020}", next.number + 1)),
            );
            let stale = DeleteOptions::new().with_range(end);
            operations.push(TxnOp::delete(first, Some(stale)));
        }
        transaction(client, unmoved(etcd, seen).and_then(operations))
    };
    Ok(etcd.call(call).await?)
}

/// Writes what was staged over the rest. Whoever is faster at it, or at the next commit, ends it for us.
pub(super) async fn unstage(
    etcd: &Connection,
    staged: &Pointer,
    seen: i64,
) -> Result<(), StoreError> {
    let changes = pieces(etcd, staged, None).await;
    let changes = match changes {
        Ok(changes) => changes,
        // Somebody else has just done all of it, and then there are no pieces.
        Err(_) if pointer(etcd).await?.1.pointer != seen => return Ok(()),
        Err(error) => return Err(error),
    };
    for part in batch::batches(&changes) {
        let call = |client| {
            let operations = operations(etcd, &part);
            transaction(client, unmoved(etcd, seen).and_then(operations))
        };
        if !etcd.call(call).await? {
            return Ok(());
        }
    }
    let next = Pointer {
        pieces: 0,
        ..staged.clone()
    };
    move_pointer(etcd, seen, &next, &Changes::new()).await?;
    Ok(())
}

pub(super) async fn pieces(
    etcd: &Connection,
    pointer: &Pointer,
    at: Option<i64>,
) -> Result<Changes, StoreError> {
    let found = range(etcd, &format!("{}/", pointer.stage()), at).await?;
    let pieces: Vec<Vec<u8>> = found.into_values().collect();
    batch::staged(&pieces).map_err(|error| unreadable("staged commit", error))
}

fn unmoved(etcd: &Connection, seen: i64) -> Txn {
    // The position of a key that is not there is 0.
    Txn::new().when([Compare::mod_revision(
        etcd.key(POINTER),
        CompareOp::Equal,
        seen,
    )])
}

fn operations(etcd: &Connection, part: &[(&str, Option<&str>)]) -> Vec<TxnOp> {
    let operation = |(key, value): &(&str, Option<&str>)| match value {
        Some(value) => TxnOp::put(etcd.key(key), *value, None),
        None => TxnOp::delete(etcd.key(key), None),
    };
    part.iter().map(operation).collect()
}

/// All keys that begin so, without the mesh's prefix; `at`: as they were at that position.
pub(super) async fn range(
    etcd: &Connection,
    start: &str,
    at: Option<i64>,
) -> Result<Entries, SharedError> {
    let from = etcd.key(start).into_bytes();
    let end = after(&from);
    between(etcd, (from, end), at).await
}

/// The same of all keys from one name on and before another.
pub(super) async fn range_before(
    etcd: &Connection,
    (start, end): (&str, &str),
) -> Result<Entries, SharedError> {
    let bounds = (etcd.key(start).into_bytes(), etcd.key(end).into_bytes());
    between(etcd, bounds, None).await
}

async fn between(
    etcd: &Connection,
    (mut from, end): (Vec<u8>, Vec<u8>),
    mut at: Option<i64>,
) -> Result<Entries, SharedError> {
    let prefix = etcd.key("");
    let mut entries = Entries::new();
    loop {
        let mut options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
        if let Some(at) = at {
            options = options.with_revision(at);
        }
        let call = |client| get(client, from.clone(), Some(options.clone()));
        let mut answer = etcd.call(call).await?;
        // The pages that follow are of the same moment as the first one.
        at = at.or_else(|| answer.header().map(|header| header.revision()));
        let more = answer.more();
        for pair in answer.take_kvs() {
            let (key, value) = pair.into_key_value();
            from.clone_from(&key);
            from.push(0);
            let key = String::from_utf8_lossy(&key).into_owned();
            let key = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
            entries.insert(key, value);
        }
        if !more {
            return Ok(entries);
        }
    }
}

/// The first key that does not begin so.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    // Ours are text, so the last byte is never 255.
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

pub(super) async fn get(
    client: Client,
    key: impl Into<Vec<u8>>,
    options: Option<GetOptions>,
) -> Result<GetResponse, Error> {
    reading(&client).get(key, options).await
}

pub(super) async fn put(
    mut client: Client,
    key: impl Into<Vec<u8>>,
    value: Vec<u8>,
) -> Result<(), Error> {
    client.put(key, value, None::<PutOptions>).await.map(drop)
}

/// Whether what it compares was so, and hence done.
pub(super) async fn transaction(mut client: Client, transaction: Txn) -> Result<bool, Error> {
    Ok(client.txn(transaction).await?.succeeded())
}
