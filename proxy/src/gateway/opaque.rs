//! Connections whose content is nobody's business here: to a service, by the listener and the name asked for.

use std::{rc::Rc, sync::Arc};

use tracing::debug;
use usher_config::model::BackendTarget;

use crate::{outbound, route::pick_backend, snapshot::ListenerEntry, tcp::Stream, worker::Worker};

use super::Caller;

/// Carries a connection to where the listener's routes lead for `host` (empty: none was named). One that leads nowhere
/// is reset: bytes cannot say why, and an end would be a whole answer without one.
pub(super) async fn serve(
    worker: Rc<Worker>,
    stream: Stream,
    (listener, host): (Option<&Arc<ListenerEntry>>, &str),
    caller: &Caller,
) {
    let Some(listener) = listener else {
        return stream.reset_on_close();
    };
    let route = match host {
        "" => listener.streams.unnamed(),
        host => listener.streams.most_precise(host),
    };
    let Some(route) = route else {
        debug!(listener = %listener.name, host, "no route takes this connection");
        return stream.reset_on_close();
    };
    let backend = pick_backend(&route.backends, worker.random());
    match backend.map(|backend| &backend.target) {
        Some(BackendTarget::Service(target)) => {
            let came = (route.name.clone(), caller.address.ip());
            outbound::serve_stream(worker, stream, target, came).await;
        }
        Some(BackendTarget::Invalid(reason)) => {
            debug!(route = %route.name, reason, "connection leads nowhere");
            stream.reset_on_close();
        }
        None => {
            debug!(route = %route.name, "no backend has a weight");
            stream.reset_on_close();
        }
    }
}
