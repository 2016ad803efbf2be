//! Starts the threads; each accepts, and each serves what it is handed.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroUsize,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, watch},
    task::spawn_local,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{debug, warn};
use usher_config::model::ServiceTarget;

use crate::{
    accept::{self, Arrival, Handoff, Lost, Purpose, Seat},
    clock, gateway, inbound, outbound,
    policy::limits::Peers,
    telemetry::access_log::FLUSH_AFTER,
};

use super::{
    Active, GatewayListeners, Load, Shared, Worker, listen,
    load::direction,
    upkeep::{keep_up, live_on},
};

/// Connections that wait for a worker; more are closed at once.
const HANDOFFS_MAX: usize = 1024;

/// How often a worker looks for connections to close.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What to listen on, and for whom. Listeners are bound already: ports may need rights that the rest does not.
#[derive(Debug)]
pub struct WorkerSettings {
    /// Threads. Default in the bootstrap: the CPUs this process may use.
    pub workers: NonZeroUsize,
    /// Application → mesh; `None`: there is no application, this is a gateway.
    pub outbound: Option<TcpListener>,
    /// Mesh → application; `None`: the workload only calls.
    pub inbound: Option<TcpListener>,
    /// Opaque streams to a port of a service.
    pub tcp: Vec<(TcpListener, ServiceTarget)>,
    /// The same two for IPv6, where the kernel hands connections over.
    pub ipv6: Vec<(TcpListener, Purpose)>,
    /// Outside world → mesh, as they come and go; `None`: this is a sidecar.
    pub gateway: Option<watch::Receiver<GatewayListeners>>,
    /// Our own application, on loopback.
    pub application: Option<SocketAddr>,
}

/// The running threads.
#[derive(Debug)]
pub struct Workers {
    loads: Vec<Arc<Load>>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// What is under way now. A drain is done when there is nothing.
    pub fn active(&self) -> Active {
        self.loads
            .iter()
            .map(|load| load.active())
            .fold(Active::default(), |sum, one| Active {
                inbound_connections: sum.inbound_connections + one.inbound_connections,
                outbound_connections: sum.outbound_connections + one.outbound_connections,
                inbound_streams: sum.inbound_streams + one.inbound_streams,
                outbound_streams: sum.outbound_streams + one.outbound_streams,
            })
    }

    /// Ends all connections and waits for the threads. Blocks for milliseconds.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            // A thread that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}

/// Starts the threads.
///
/// # Errors
/// The operating system refuses a thread, a socket option or another descriptor.
pub fn start(settings: WorkerSettings, shared: &Shared) -> io::Result<Workers> {
    let count = settings.workers.get();
    let loads: Vec<Arc<Load>> = (0..count).map(|_| Arc::default()).collect();
    let (seats, receivers): (Vec<_>, Vec<_>) = loads
        .iter()
        .map(|load| {
            let (sender, receiver) = mpsc::channel(HANDOFFS_MAX);
            (
                Seat {
                    load: load.clone(),
                    sender,
                },
                receiver,
            )
        })
        .unzip();
    let seats: Arc<[Seat]> = seats.into();
    let mut listeners = listeners(settings.outbound, settings.inbound, settings.tcp)?;
    listeners.extend(settings.ipv6);
    let (stop, stopped) = watch::channel(false);
    let handshakes = Arc::new(Peers::handshakes(fastrand::u64(..)));
    let strangers = settings.gateway.is_some() && shared.trusted_hops == 0;
    let outsiders = strangers.then(|| {
        let workers = u32::try_from(count).unwrap_or(u32::MAX);
        Arc::new(Peers::outsiders(fastrand::u64(..), workers))
    });
    let mut threads = Vec::with_capacity(count);
    for ((index, load), receiver) in loads.iter().cloned().enumerate().zip(receivers) {
        let listeners = listeners
            .iter()
            .map(|(listener, purpose)| Ok((Arc::new(listener.try_clone()?), purpose.clone())))
            .collect::<io::Result<_>>()?;
        let place = Place {
            index,
            peers: (handshakes.clone(), outsiders.clone()),
            load,
            application: settings.application,
            listeners,
            gateway: settings.gateway.clone(),
            seats: seats.clone(),
            receiver,
            stopped: stopped.clone(),
        };
        let shared = shared.clone();
        let mut place = place;
        let body = move || {
            let life = || -> io::Result<()> {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default())?;
                runtime.block_on(run(&mut place, shared.clone()));
                Ok(())
            };
            if let Err(error) = live_on(index, life) {
                tracing::error!(%error, "worker could not start");
            }
        };
        threads.push(
            thread::Builder::new()
                .name(format!("usher-worker-{index}"))
                .spawn(body)?,
        );
    }
    Ok(Workers {
        loads,
        stop,
        threads,
    })
}

fn listeners(
    outbound: Option<TcpListener>,
    inbound: Option<TcpListener>,
    tcp: Vec<(TcpListener, ServiceTarget)>,
) -> io::Result<Vec<(TcpListener, Purpose)>> {
    let outbound = outbound.map(|listener| (listener, Purpose::Outbound));
    let mut listeners: Vec<_> = outbound.into_iter().collect();
    listeners.extend(inbound.map(|listener| (listener, Purpose::Inbound)));
    listeners.extend(
        tcp.into_iter()
            .map(|(listener, target)| (listener, Purpose::Tcp(Arc::new(target)))),
    );
    for (listener, _) in &listeners {
        listener.set_nonblocking(true)?;
    }
    Ok(listeners)
}

struct Place {
    index: usize,
    peers: (Arc<Peers>, Option<Arc<Peers>>),
    load: Arc<Load>,
    application: Option<SocketAddr>,
    listeners: Vec<(Arc<TcpListener>, Purpose)>,
    gateway: Option<watch::Receiver<GatewayListeners>>,
    seats: Arc<[Seat]>,
    receiver: mpsc::Receiver<Handoff>,
    stopped: watch::Receiver<bool>,
}

async fn run(place: &mut Place, shared: Shared) {
    let worker = Worker::new(
        place.index,
        shared,
        place.application,
        place.load.clone(),
        place.peers.clone(),
    );
    for (listener, purpose) in &place.listeners {
        let (listener, purpose) = (listener.clone(), purpose.clone());
        let (told, seats) = (worker.clone(), place.seats.clone());
        let accept = move || {
            let told = told.clone();
            let lost = move |lost: Lost<'_>| told.lost(&lost);
            accept::accept(listener.clone(), purpose.clone(), seats.clone(), lost)
        };
        spawn_local(keep_up(panicked_in(&worker, "accept"), accept));
    }
    if let Some(gateway) = place.gateway.clone() {
        let (own, seats) = (worker.clone(), place.seats.clone());
        let follow = move || listen::follow(own.clone(), gateway.clone(), seats.clone());
        spawn_local(keep_up(panicked_in(&worker, "listen"), follow));
    }
    let own = worker.clone();
    let log = move || flush_log(own.clone());
    spawn_local(keep_up(panicked_in(&worker, "access_log"), log));
    let own = worker.clone();
    spawn_local(keep_up(panicked_in(&worker, "sweep"), move || {
        sweep(own.clone())
    }));
    loop {
        tokio::select! {
            handoff = place.receiver.recv() => match handoff {
                Some(handoff) => begin(&worker, handoff),
                None => return,
            },
            _ = place.stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

fn panicked_in(worker: &Rc<Worker>, what: &'static str) -> impl Fn() + 'static {
    let worker = worker.clone();
    move || worker.handles.internal_errors.add(worker.index, what)
}

fn begin(worker: &Rc<Worker>, handoff: Handoff) {
    let worker = worker.clone();
    spawn_local(async move {
        let counted = Counted::new(worker.clone(), handoff.purpose.clone());
        let arrived = arrival(&worker, &handoff).and_then(|arrival| {
            let (stream, peer) = tokio_stream_of(handoff.stream)?;
            Ok((stream, peer, arrival))
        });
        match arrived {
            Ok((stream, peer, arrival)) => match (handoff.purpose, arrival) {
                (_, Arrival::Looping(destination)) => refuse_loop(&worker, destination),
                (_, Arrival::Witness) => drop(stream),
                (Purpose::Inbound, Arrival::Direct) => {
                    inbound::serve(worker, stream, peer, None).await;
                }
                (Purpose::Inbound, Arrival::Intercepted(destination)) => {
                    inbound::serve(worker, stream, peer, Some(destination)).await;
                }
                (Purpose::Outbound, Arrival::Direct) => outbound::serve(worker, stream).await,
                (Purpose::Outbound, Arrival::Intercepted(destination)) => {
                    Box::pin(outbound::serve_intercepted(worker, stream, destination)).await;
                }
                (Purpose::Tcp(target), _) => {
                    Box::pin(outbound::serve_tcp(worker, stream, &target)).await;
                }
                (Purpose::Gateway(port), _) => {
                    Box::pin(gateway::serve(worker, stream, peer, port)).await;
                }
            },
            Err(error) => debug!(%error, "accepted connection was gone"),
        }
        drop(counted);
    });
}

fn arrival(worker: &Worker, handoff: &Handoff) -> io::Result<Arrival> {
    match (&worker.shared.own_ports, &handoff.purpose) {
        (None, _) | (_, Purpose::Tcp(_)) => Ok(Arrival::Direct),
        (_, Purpose::Inbound) if !worker.shared.intercepts_inbound => Ok(Arrival::Direct),
        (Some(own), purpose) => Arrival::of(&handoff.stream, purpose, own),
    }
}

fn refuse_loop(worker: &Worker, destination: SocketAddr) {
    worker.handles.ended.add(worker.index, "loop");
    if worker.warnings.loops.is_due(clock::now()) {
        warn!(%destination, "closed an intercepted connection to this sidecar itself");
    }
}

fn tokio_stream_of(stream: TcpStream) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    let peer = stream.peer_addr()?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    crate::tcp::tune(&stream);
    Ok((stream, peer))
}

/// A connection in the gauge. Whoever handed it over has counted it in the load.
struct Counted(Rc<Worker>, Purpose);

impl Counted {
    fn new(worker: Rc<Worker>, purpose: Purpose) -> Self {
        worker.connections(direction(&purpose)).add(1);
        Self(worker, purpose)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections(direction(&self.1)).add(-1);
        self.0.load.remove_connection(&self.1);
    }
}

async fn flush_log(worker: Rc<Worker>) {
    loop {
        worker.logged.notified().await;
        sleep(FLUSH_AFTER).await;
        worker.log.borrow_mut().flush_due(clock::now());
    }
}

async fn sweep(worker: Rc<Worker>) {
    let mut every = interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bundle = worker.shared.material.load().bundle_version;
    loop {
        every.tick().await;
        worker.callers.show();
        let snapshot = worker.snapshot();
        worker
            .pool
            .sweep(|endpoint| snapshot.has_endpoint(endpoint));
        let current = worker.shared.material.load().bundle_version;
        if current != bundle {
            // Connections that an old root vouched for should not outlive it.
            worker.pool.retire();
            bundle = current;
        }
    }
}
