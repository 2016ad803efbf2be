//! The workers as the control thread sees them: started once, counted, stopped.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::watch,
    time::{Instant, interval},
};

use super::{Exit, Start, listeners::Listeners};
use crate::{
    bootstrap::{AccessLogTarget, Bootstrap},
    telemetry::{
        access_log::{AccessLog, Target},
        metrics::Direction,
    },
    tls::Material,
    worker::{self, Drain, GatewayListeners, Shared, WorkerSettings, Workers},
    xds::Discovery,
};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Nothing may begin for this long before we believe that nothing will: a request may have been on its way when
/// its sender was told to go elsewhere.
const QUIET: Duration = Duration::from_millis(100);

/// All threads that carry requests.
#[derive(Debug)]
pub(super) struct Traffic(Workers);

/// What the workers share.
pub(super) fn shared(
    start: &Start,
    material: &Arc<ArcSwap<Material>>,
    discovery: Discovery,
    drain: Drain,
) -> Result<Shared, Exit> {
    let target = match &start.bootstrap.access_log {
        AccessLogTarget::Off => Target::Off,
        AccessLogTarget::Stdout => Target::Stdout,
        AccessLogTarget::File(path) => Target::File(path.clone()),
    };
    let cannot = match &target {
        Target::File(path) => format!("open the access log {} (--access-log)", path.display()),
        Target::Stdout | Target::Off => "start the access log".to_owned(),
    };
    let access_log = AccessLog::open(target, start.metrics.access_log_dropped());
    Ok(Shared {
        store: start.store.clone(),
        material: material.clone(),
        certificates: Arc::default(),
        trusted_hops: start
            .bootstrap
            .gateway
            .as_ref()
            .map_or(0, |role| role.trusted_hops),
        discovery,
        drain,
        metrics: start.metrics.clone(),
        callers: start.callers.clone(),
        access_log: Arc::new(access_log.map_err(Exit::system(cannot))?),
        own_ports: start.listeners.own_ports.clone(),
        intercepts_inbound: start.bootstrap.intercepts_inbound(),
    })
}

impl Traffic {
    /// Starts the workers on the listeners.
    ///
    /// # Errors
    /// [`Exit::System`] when the operating system refuses a thread.
    pub(super) fn start(
        (listeners, gateway): (Listeners, Option<watch::Receiver<GatewayListeners>>),
        bootstrap: &Bootstrap,
        shared: &Shared,
    ) -> Result<Self, Exit> {
        let application = bootstrap.application_port;
        let settings = WorkerSettings {
            workers: bootstrap.workers,
            outbound: listeners.outbound,
            inbound: listeners.inbound,
            tcp: listeners.tcp,
            ipv6: listeners.ipv6,
            gateway,
            application: application
                .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()))),
        };
        worker::start(settings, shared)
            .map(Self)
            .map_err(Exit::system("start the workers"))
    }

    /// Requests and opaque streams under way.
    pub(super) fn streams(&self, direction: Direction) -> u32 {
        let active = self.0.active();
        match direction {
            Direction::Inbound => active.inbound_streams,
            Direction::Outbound => active.outbound_streams,
        }
    }

    /// Returns when for a moment there have been none, and no connection that could still be writing an answer.
    pub(super) async fn idle(&self, direction: Direction) {
        let mut looks = interval(LOOK_EVERY);
        let mut busy = Instant::now();
        while busy.elapsed() < QUIET {
            looks.tick().await;
            if !self.0.active().is_idle(direction) {
                busy = Instant::now();
            }
        }
    }

    /// Closes every connection and waits for the threads.
    pub(super) fn stop(self) {
        self.0.stop();
    }
}
