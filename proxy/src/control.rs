//! The control thread: everything that is not a request. One current-thread runtime; `tonic` lives only here.
//!
//! Start order: listeners (a taken port is known at once), admin doors, identity, last known good configuration,
//! workers, then the stream, renewal, health and registration side by side. It ends by draining.

mod admission;
mod descriptors;
mod exit;
mod exposure;
mod following;
mod forwards;
mod gateway;
mod keep_identity;
mod leaving;
mod listeners;
mod logging;
mod readiness;
mod registration;
mod report;
mod self_test;
mod series;
mod serving;
mod signals;
mod standing;
mod traffic;
mod witness;

use std::{
    ffi::OsString,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::{error, info, warn};

use usher_config::value::{InstanceName, Name, Port};

use crate::{
    admin::{Admin, Command, serve_metrics, serve_socket},
    bootstrap::{Advertise, Bootstrap, Environment, Stop},
    callers::Lists,
    control_plane::ControlPlane,
    health::watch_application,
    identity::Keeper,
    intercept, pod,
    probe::Door,
    snapshot::Store,
    state_dir::StateDir,
    telemetry::metrics::Metrics,
    tls::Material,
    worker,
    xds::{self, Discovery},
};

pub use exit::Exit;
pub use logging::{InvalidFilter, LogFilter};
pub use readiness::{Readiness, Unready};
pub use standing::{Admission, Facts, Standing};

use admission::Question;
use leaving::Leaving;
use listeners::{Addresses, Listeners};
use registration::{Deregister, Guarded, Registration};
use report::show_health;
use serving::{Registering, Serving};
use signals::Signals;
use traffic::Traffic;

/// Operators' commands in flight.
const COMMANDS_MAX: usize = 16;
/// The program: reads `arguments` (program name first) and the environment, runs until drained, explains itself on
/// stderr. For `usher-proxy` and for programs that contain it.
pub fn main_with<I, A>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    if arguments.get(1).is_some_and(|verb| verb == intercept::NAME) {
        return intercept::main_with(arguments.into_iter().skip(1));
    }
    if arguments.get(1).is_some_and(|verb| pod::is_ours(verb)) {
        return pod::main_with(arguments);
    }
    // Names and values that are not UTF-8 are no settings of ours.
    let environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let log_filter = environment.get("USHER_LOG").cloned();
    let bootstrap = match Bootstrap::read(arguments, &environment) {
        Ok(bootstrap) => bootstrap,
        Err(Stop::Usage(usage)) => {
            // Nobody is left to tell when even this cannot be written.
            let _ = usage.print();
            return if usage.use_stderr() {
                ExitCode::from(64)
            } else {
                ExitCode::SUCCESS
            };
        }
        Err(Stop::Invalid(invalid)) => {
            let _ = writeln!(io::stderr(), "{invalid}");
            return Exit::Usage(invalid).code();
        }
    };
    match run(bootstrap, LogFilter::start(log_filter.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            error!(reason = keep_identity::chain(&exit), "proxy ends");
            exit.code()
        }
    }
}

/// Runs the sidecar on this thread and its workers' threads, until drained.
///
/// # Errors
/// Every other way to end, see [`Exit`].
pub fn run(bootstrap: Bootstrap, log: LogFilter) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Exit::system("start the control thread's runtime"))?;
    let state_dir = bootstrap.state_dir.clone();
    let ended = runtime.block_on(async { Start::new(bootstrap, log)?.sidecar().await });
    if let Err(exit) = &ended {
        exit.leave_word(&state_dir);
    }
    // A probe or a save that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}

/// What exists before the identity does.
struct Start {
    bootstrap: Bootstrap,
    directory: StateDir,
    listeners: Listeners,
    addresses: Addresses,
    signals: Signals,
    commands: mpsc::Receiver<Command>,
    store: Arc<Store>,
    readiness: Readiness,
    standing: Standing,
    metrics: Metrics,
    /// Who calls us without the mesh's TLS.
    callers: Lists,
    control_plane: ControlPlane,
    /// A stream to the control plane has opened: it may be another one that has never heard of us.
    greeted: Arc<Notify>,
    instance: Name,
}

impl Start {
    fn new(bootstrap: Bootstrap, log: LogFilter) -> Result<Self, Exit> {
        let is_gateway = bootstrap.gateway.is_some();
        let role = if is_gateway { "gateway" } else { "sidecar" };
        info!(role, service = %bootstrap.service, control_plane = bootstrap.control_plane, "proxy starts");
        descriptors::raise(bootstrap.workers.get());
        if bootstrap.danger_exposed_application {
            warn!(
                "danger: the application may be reachable around this sidecar, and then no policy protects it"
            );
        }
        let state = format!("use the state directory {}", bootstrap.state_dir.display());
        let directory = StateDir::open(&bootstrap.state_dir).map_err(Exit::system(state))?;
        Listeners::unpublish(&directory).map_err(Exit::system("remove the old addresses.json"))?;
        Exit::forget_word(&directory).map_err(Exit::system("remove the old exit.json"))?;
        let instance = match &bootstrap.instance {
            Some(instance) => instance.clone(),
            None => directory
                .instance()
                .map_err(Exit::system("keep an instance name"))?,
        };
        let (listeners, doors) = Listeners::bind(&bootstrap)?;
        let signals = Signals::new().map_err(Exit::system("listen to signals"))?;
        let metrics = Metrics::new(bootstrap.workers.get());
        let store = Store::new(
            bootstrap.service.clone(),
            bootstrap.workers.get(),
            metrics.clone(),
        );
        let name = InstanceName {
            service: bootstrap.service.clone(),
            instance: instance.clone(),
        };
        let store = Arc::new(store.of_instance(&name, &bootstrap.zone));
        let standing = Standing::default();
        let readiness = Readiness::new(store.clone(), standing.clone(), is_gateway);
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let callers = Lists::new(bootstrap.workers.get());
        let admin = Admin {
            store: store.clone(),
            readiness: readiness.clone(),
            standing: standing.clone(),
            metrics: registry(&metrics)?,
            log,
            probes: Door::new(bootstrap.probes.clone()),
            callers: callers.clone(),
            commands: sender,
        };
        let addresses = listeners
            .addresses(&doors)
            .and_then(|addresses| addresses.publish(&directory).map(|()| addresses));
        let addresses = addresses.map_err(Exit::system("write addresses.json"))?;
        let (port, socket) = doors.open().map_err(Exit::system("open the admin doors"))?;
        tokio::spawn(serve_metrics(port, admin.clone()));
        tokio::spawn(serve_socket(socket, admin));
        tokio::spawn(series::forget_idle(metrics.clone()));
        Ok(Self {
            control_plane: ControlPlane::new(&bootstrap.control_plane),
            greeted: Arc::default(),
            bootstrap,
            directory,
            listeners,
            addresses,
            signals,
            commands,
            store,
            readiness,
            standing,
            metrics,
            callers,
            instance,
        })
    }

    async fn sidecar(mut self) -> Result<(), Exit> {
        if self.bootstrap.transparent.is_some() {
            self_test::run().await?;
        }
        let Some(keeper) = self.identity().await? else {
            return Ok(());
        };
        let material = keeper.material();
        let (discovery, questions) = xds::discovery();
        let following = self.follow_control_plane(keeper, questions);
        self.find_out(&material, &discovery);
        let ended = self.serve(material, discovery).await;
        following.end().await;
        ended
    }

    /// From the first request to the last.
    async fn serve(
        self,
        material: Arc<ArcSwap<Material>>,
        discovery: Discovery,
    ) -> Result<(), Exit> {
        let (trigger, drain) = worker::drain();
        let shared = traffic::shared(&self, &material, discovery, drain)?;
        let (gateway, misfit) = self.listen_as_gateway(&shared)?.unzip();
        let inbound = self.listeners.inbound_address()?;
        let traffic = Traffic::start((self.listeners, gateway), &self.bootstrap, &shared)?;
        self.readiness.serve();

        let application = inbound.zip(self.bootstrap.application_port);
        let registering = application.map(|(inbound, application)| {
            let guarded = Guarded {
                application,
                inbound,
                transparent: self.bootstrap.intercepts_inbound(),
            };
            let (health, reported) = watch::channel(Default::default());
            tokio::spawn(show_health(reported.clone(), self.standing.clone()));
            tokio::spawn(watch_application(application, self.store.clone(), health));
            let (deregister, leave) = mpsc::channel::<Deregister>(1);
            let (asked, ends) = oneshot::channel();
            let registration = Registration {
                control_plane: self.control_plane.clone(),
                material,
                store: self.store.clone(),
                service: self.bootstrap.service.clone(),
                instance: self.instance.clone(),
                address: advertised(&self.bootstrap, inbound),
                zone: self.bootstrap.zone.clone(),
                health: reported,
                greeted: self.greeted.clone(),
                callers: self.callers.clone(),
                asked: Some(asked),
                guarded: (!self.bootstrap.danger_exposed_application).then_some(guarded),
            };
            Registering {
                task: tokio::spawn(registration.run(leave)),
                deregister,
                ends: Some(ends),
            }
        });
        let leaving = Leaving {
            readiness: self.readiness,
            registration: registering
                .as_ref()
                .map(|registering| registering.deregister.clone()),
            notice: self.bootstrap.drain_notice(),
            trigger,
            traffic,
        };
        let grace = self.bootstrap.drain_grace;
        Serving {
            leaving,
            transparent: self.bootstrap.transparent.is_some(),
            grace,
            ends_with: self.bootstrap.ends_with,
            misfit,
            signals: self.signals,
            commands: self.commands,
        }
        .run(registering)
        .await
    }

    /// `None`: told to end before there was one.
    async fn identity(&mut self) -> Result<Option<Keeper>, Exit> {
        let svid = keep_identity::first_svid(
            &self.directory,
            &self.control_plane,
            &self.bootstrap,
            &self.standing,
        );
        tokio::pin!(svid);
        let svid = loop {
            tokio::select! {
                svid = &mut svid => break svid?,
                () = self.signals.next() => return Ok(None),
                command = self.commands.recv() => match command {
                    // Nothing has come in yet.
                    Some(Command::Drain { done, .. }) => drop(done.send(())),
                    Some(Command::Quit) | None => return Ok(None),
                },
            }
        };
        let keeper = Keeper::new(self.directory.clone(), svid).map_err(io::Error::other);
        keeper.map(Some).map_err(Exit::system("use the identity"))
    }

    /// Asks what people should know at start.
    fn find_out(&self, material: &Arc<ArcSwap<Material>>, discovery: &Discovery) {
        let identity = material.load().spiffe_id().to_string();
        self.standing.tell(|facts| {
            facts.identity = Some(identity);
            facts.waiting_for = None;
            facts.checking = !self.bootstrap.tcp.is_empty();
        });
        let question = Question {
            control_plane: self.control_plane.clone(),
            material: material.clone(),
            service: self.bootstrap.service.clone(),
            instance: self.instance.clone(),
            serves: self.bootstrap.application_port.is_some(),
            standing: self.standing.clone(),
            again: admission::ASK_AGAIN,
        };
        tokio::spawn(question.ask());
        let check = forwards::Check {
            forwards: self.bootstrap.tcp.clone(),
            store: self.store.clone(),
            discovery: discovery.clone(),
            names: forwards::Names {
                control_plane: self.control_plane.clone(),
                material: material.clone(),
            },
            standing: self.standing.clone(),
        };
        tokio::spawn(check.run());
    }
}

fn registry(metrics: &Metrics) -> Result<prometheus::Registry, Exit> {
    let registry = prometheus::Registry::new();
    let registered = metrics.register(&registry).map_err(io::Error::other);
    registered.map_err(Exit::system("register metrics"))?;
    Ok(registry)
}

/// An unspecified address is completed by [`Registration`], which knows the way to the control plane.
fn advertised(bootstrap: &Bootstrap, inbound: SocketAddr) -> SocketAddr {
    match bootstrap.advertise {
        Some(Advertise { ip, port }) => SocketAddr::new(ip, port.map_or(inbound.port(), Port::get)),
        None => inbound,
    }
}
