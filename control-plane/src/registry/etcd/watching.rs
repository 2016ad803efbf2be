//! Follows the pointer: who commits, here or elsewhere, and whether etcd answers at all.

use std::{sync::Arc, time::Duration};

use etcd_client::{EventType, WatchOptions};
use tokio::{
    sync::watch,
    time::{interval, sleep, timeout},
};
use usher_config::model::Revision;

use super::{POINTER, batch::Pointer, connection::Connection, keys::pointer};
use crate::registry::embedded::read;

/// How often etcd is asked whether it is there: the pointer is read through the quorum, so a member that has lost the
/// others does not pass for a store.
const PROBE: Duration = Duration::from_secs(2);

/// Between attempts while it is gone.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// How long a watch may take to begin.
pub(super) const BEGIN: Duration = Duration::from_secs(3);

/// For ever.
pub(super) async fn follow_pointer(etcd: Arc<Connection>, committed: watch::Sender<Revision>) {
    loop {
        if follow(&etcd, &committed).await.is_none() {
            sleep(PAUSE).await;
        }
    }
}

/// Until the watch breaks; `None`.
async fn follow(etcd: &Connection, committed: &watch::Sender<Revision>) -> Option<()> {
    let (found, at) = pointer(etcd).await.ok()?;
    tell(committed, &found);
    let options = WatchOptions::new().with_start_revision(at.store + 1);
    let mut client = etcd.client();
    let watching = client.watch(etcd.key(POINTER), Some(options));
    let mut events = timeout(BEGIN, watching).await.ok()?.ok()?;
    let mut probe = interval(PROBE);
    loop {
        tokio::select! {
            message = events.message() => {
                let message = message.ok()??;
                if message.canceled() {
                    return None;
                }
                for event in message.events() {
                    let value = event.kv().filter(|_| event.event_type() == EventType::Put);
                    // What cannot be read is a newer version's: loading it will say so.
                    if let Some(Ok(found)) = value.map(|pair| read::<Pointer>("pointer", pair.value())) {
                        tell(committed, &found);
                    }
                }
            }
            _ = probe.tick() => {
                let (found, _) = pointer(etcd).await.ok()?;
                tell(committed, &found);
            }
        }
    }
}

fn tell(committed: &watch::Sender<Revision>, found: &Pointer) {
    let revision = found.revision();
    committed.send_if_modified(|known| {
        let is_new = *known != revision;
        *known = revision;
        is_new
    });
}
