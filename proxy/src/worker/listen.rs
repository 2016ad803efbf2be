//! A gateway's listeners come and go with its configuration: each worker accepts from those that there are now.

use std::{
    collections::{BTreeMap, HashMap},
    net::TcpListener,
    rc::Rc,
    sync::Arc,
};

use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_local},
};
use usher_config::value::Port;

use crate::accept::{self, Lost, Purpose, Seat};

use super::Worker;

/// By the gateway's own port, which need not be the one that is bound for it. Non-blocking.
pub type GatewayListeners = Arc<BTreeMap<Port, Arc<TcpListener>>>;

struct Accepting {
    listener: Arc<TcpListener>,
    task: JoinHandle<()>,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Never returns. Connections that were accepted stay when their listener goes: what they ask for next is answered by
/// the configuration of that moment.
pub(super) async fn follow(
    worker: Rc<Worker>,
    mut listeners: watch::Receiver<GatewayListeners>,
    seats: Arc<[Seat]>,
) {
    let mut accepting: HashMap<Port, Accepting> = HashMap::new();
    loop {
        let wanted = listeners.borrow_and_update().clone();
        accepting.retain(|port, running| {
            let same = |listener: &Arc<TcpListener>| Arc::ptr_eq(listener, &running.listener);
            wanted.get(port).is_some_and(same)
        });
        for (port, listener) in wanted.iter() {
            if accepting.contains_key(port) {
                continue;
            }
            let told = worker.clone();
            let lost = move |lost: Lost<'_>| told.lost(&lost);
            let accept = accept::accept(
                listener.clone(),
                Purpose::Gateway(*port),
                seats.clone(),
                lost,
            );
            let (task, listener) = (spawn_local(accept), listener.clone());
            accepting.insert(*port, Accepting { listener, task });
        }
        if listeners.changed().await.is_err() {
            // The control thread is gone: the process is ending.
            std::future::pending::<()>().await;
        }
    }
}
