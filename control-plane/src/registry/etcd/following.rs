//! Follows registrations: all there are, then every change, and anew when the watch breaks; and notices an etcd that is not
//! the one of before.

use std::collections::BTreeSet;

use etcd_client::{
    EventType, GetOptions, GetResponse, KeyValue, SortOrder, SortTarget, WatchOptions,
};
use tokio::{sync::mpsc, time::timeout};
use tracing::warn;

use super::{
    connection::Connection,
    instances::{FAREWELL, INSTANCES, position, registration},
    keys::{after, get, range},
    watching::BEGIN,
};
use crate::registry::shared::{Batch, Event, Health, Registration, SharedError};

/// What was heard before.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The newest registration.
    newest: Option<KeyValue>,
    /// How often etcd had been silent by then.
    silences: u64,
}

/// Until the watch breaks, or nobody listens; `None`.
pub(super) async fn follow(
    etcd: &Connection,
    events: &mpsc::Sender<Batch>,
    seen: &mut Seen,
) -> Option<()> {
    let knows = match &seen.newest {
        Some(seen) => knows(etcd, seen).await.ok()?,
        None => true,
    };
    let (all, newest, mut at) = all(etcd).await.ok()?;
    let silences = etcd.silences();
    let first = Batch {
        position: position(at),
        events: vec![if !knows {
            Event::Anew(all)
        } else if silences != seen.silences {
            Event::Missed(all)
        } else {
            Event::All(all)
        }],
    };
    events.send(first).await.ok()?;
    seen.newest = newest.or(seen.newest.take().filter(|_| knows));
    seen.silences = silences;
    let mut health = etcd.health();
    let prefix = etcd.key(INSTANCES).into_bytes();
    let options = WatchOptions::new()
        .with_range(after(&prefix))
        .with_start_revision(at + 1)
        .with_progress_notify();
    let mut client = etcd.client();
    let mut changes = timeout(BEGIN, client.watch(prefix, Some(options)))
        .await
        .ok()?
        .ok()?;
    loop {
        let message = tokio::select! {
            message = changes.message() => message.ok()??,
            // The connection may be one that leads nowhere.
            _ = health.wait_for(|health| *health != Health::Reachable) => return None,
        };
        if message.canceled() {
            warn!(
                reason = message.cancel_reason(),
                "watching registrations ended, beginning anew"
            );
            return None;
        }
        // This process stood still, or the network: whose lease ended meanwhile may have wanted to renew it.
        if etcd.silences() != silences {
            return None;
        }
        // The header of a message may be ahead of the events in it, when there are more to come.
        let newest = message.events().iter().filter_map(etcd_client::Event::kv);
        let newest = newest.map(KeyValue::mod_revision).max();
        let idle = || message.header().map(|header| header.revision());
        at = newest.or_else(idle).unwrap_or(at).max(at);
        let batch = Batch {
            position: position(at),
            events: as_events(etcd, message.events()),
        };
        events.send(batch).await.ok()?;
        let puts = message.events().iter().rev();
        let mut puts = puts.filter(|event| event.event_type() == EventType::Put);
        if let Some(put) = puts.find_map(etcd_client::Event::kv) {
            seen.newest = Some(put.clone());
        }
    }
}

/// All registrations, the one that was written last, and the moment.
async fn all(etcd: &Connection) -> Result<(Vec<Registration>, Option<KeyValue>, i64), SharedError> {
    let prefix = etcd.key(INSTANCES).into_bytes();
    let options = GetOptions::new()
        .with_range(after(&prefix))
        .with_sort(SortTarget::Mod, SortOrder::Descend)
        .with_limit(1);
    let call = |client| get(client, prefix.clone(), Some(options.clone()));
    let mut answer = etcd.call(call).await?;
    let at = answer.header().map_or(0, |header| header.revision());
    let entries = range(etcd, INSTANCES, Some(at)).await?;
    let read = |(key, value): (&String, &Vec<u8>)| registration(key, value);
    let all = entries.iter().filter_map(read).collect();
    Ok((all, answer.take_kvs().pop(), at))
}

/// Whether etcd had `seen` where it was seen. An etcd of an old backup had not, even if its positions go on far beyond
/// (`etcdutl snapshot restore --bump-revision`). One that was told to forget that moment knows it by what has not changed
/// since; where it has, nobody can tell, and `false` costs callers less than to lose who is there.
async fn knows(etcd: &Connection, seen: &KeyValue) -> Result<bool, SharedError> {
    let is_it = |mut answer: GetResponse| {
        let found = answer.take_kvs().pop();
        found.is_some_and(|found| {
            found.mod_revision() == seen.mod_revision() && found.value() == seen.value()
        })
    };
    let then = GetOptions::new().with_revision(seen.mod_revision());
    for options in [Some(then), None] {
        let call = |client| get(client, seen.key(), options.clone());
        match etcd.call(call).await {
            Ok(answer) => return Ok(is_it(answer)),
            // Forgotten, or not there yet.
            Err(SharedError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// In order. Whoever leaves says so in the transaction that takes its registration out; a lease that ends says nothing.
fn as_events(etcd: &Connection, events: &[etcd_client::Event]) -> Vec<Event> {
    let farewell = etcd.key(FAREWELL).into_bytes();
    let farewells = events.iter().filter_map(etcd_client::Event::kv);
    let farewells = farewells.filter(|pair| pair.key() == farewell);
    let left: BTreeSet<(i64, &[u8])> = farewells
        .map(|pair| (pair.mod_revision(), pair.value()))
        .collect();
    let as_event = |event: &etcd_client::Event| {
        let pair = event.kv()?;
        let key = pair.key_str().ok()?.strip_prefix(&etcd.key(""))?;
        if event.event_type() == EventType::Put {
            return Some(Event::Put(registration(key, pair.value())?.into()));
        }
        let text = key.strip_prefix(INSTANCES)?;
        let (name, at) = (text.parse().ok()?, pair.mod_revision());
        Some(match left.contains(&(at, text.as_bytes())) {
            true => Event::Gone(name, position(at)),
            false => Event::Lapsed(name, position(at)),
        })
    };
    events.iter().filter_map(as_event).collect()
}
