//! From the first request to the last: waits for a reason to leave, then leaves.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tracing::{info, warn};

use super::{Exit, leaving::Leaving, registration::Deregister, self_test, signals::Signals};
use crate::{admin::Command, bootstrap::EndsWith, pod};

/// A running registration.
#[derive(Debug)]
pub(super) struct Registering {
    /// Ends when deregistered, or because the application is exposed.
    pub task: JoinHandle<Result<(), Exit>>,
    /// Ends it.
    pub deregister: mpsc::Sender<Deregister>,
    /// The control plane says that our pod was asked to end.
    pub ends: Option<oneshot::Receiver<()>>,
}

/// Everything that can end us.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) leaving: Leaving,
    /// The kernel hands us connections, by rules that may change.
    pub(super) transparent: bool,
    /// For a drain whose request names none.
    pub(super) grace: Duration,
    /// Containers after which there is nothing left to do.
    pub(super) ends_with: Option<EndsWith>,
    /// Of a gateway: why it is not what its settings say.
    pub(super) misfit: Option<oneshot::Receiver<Exit>>,
    pub(super) signals: Signals,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// How far the inbound side has come.
enum Inbound<'a> {
    Serving,
    Draining(Pin<Box<dyn Future<Output = ()> + 'a>>),
    Drained,
}

impl Inbound<'_> {
    async fn drained(&mut self) {
        match self {
            Self::Serving => std::future::pending().await,
            Self::Draining(drain) => drain.await,
            Self::Drained => {}
        }
        *self = Self::Drained;
    }
}

impl Serving {
    /// Until drained. A second signal while leaving means: at once.
    ///
    /// # Errors
    /// When the application turns out to be reachable around us, rules hand us our own connections, or a gateway's
    /// settings are about another Gateway than there is.
    pub(super) async fn run(self, mut registering: Option<Registering>) -> Result<(), Exit> {
        let Self {
            leaving,
            transparent,
            grace,
            ends_with,
            misfit,
            mut signals,
            mut commands,
        } = self;
        let mut inbound = Inbound::Serving;
        let mut intercepts_itself = pin!(self_test::watch());
        let mut misfit = pin!(told(misfit));
        let mut over = pin!(pod::over(ends_with));
        let ends = registering.as_mut().and_then(|one| one.ends.take());
        let mut asked = pin!(asked(ends));
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            tokio::select! {
                () = signals.next() => break,
                () = &mut over => {
                    info!("all containers have ended");
                    break;
                }
                command = commands.recv() => match command {
                    Some(Command::Drain { grace: asked, done }) => {
                        waiting.push(done);
                        if matches!(inbound, Inbound::Serving) {
                            inbound = Inbound::Draining(Box::pin(leaving.inbound(asked.unwrap_or(grace))));
                        }
                    }
                    Some(Command::Quit) | None => break,
                },
                () = &mut asked, if matches!(inbound, Inbound::Serving) => {
                    info!("the control plane says that this pod ends");
                    inbound = Inbound::Draining(Box::pin(leaving.inbound(grace)));
                }
                () = inbound.drained(), if !waiting.is_empty() || matches!(inbound, Inbound::Draining(_)) => {
                    answer(&mut waiting);
                }
                ended = ended(&mut registering) => ended?,
                exit = &mut intercepts_itself, if transparent => return Err(exit),
                exit = &mut misfit => return Err(exit),
            }
        }
        let whole = async {
            if matches!(inbound, Inbound::Serving) {
                inbound = Inbound::Draining(Box::pin(leaving.inbound(grace)));
            }
            inbound.drained().await;
            answer(&mut waiting);
            leaving.outbound(grace).await;
        };
        tokio::select! {
            () = whole => {}
            () = signals.next() => warn!("second signal: leaving at once"),
        }
        drop(inbound);
        leaving.stop();
        Ok(())
    }
}

fn answer(waiting: &mut Vec<oneshot::Sender<()>>) {
    for done in waiting.drain(..) {
        // Whoever asked may have given up.
        let _ = done.send(());
    }
}

/// Returns when the control plane has asked us to leave; never where it does not.
async fn asked(ends: Option<oneshot::Receiver<()>>) {
    if let Some(ends) = ends
        && ends.await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Returns only if there is something to tell.
async fn told(misfit: Option<oneshot::Receiver<Exit>>) -> Exit {
    if let Some(misfit) = misfit
        && let Ok(exit) = misfit.await
    {
        return exit;
    }
    std::future::pending().await
}

/// Returns when the registration has ended; never where there is none (any more).
async fn ended(registering: &mut Option<Registering>) -> Result<(), Exit> {
    match registering {
        None => std::future::pending().await,
        Some(running) => {
            let ended = (&mut running.task).await;
            *registering = None;
            ended.unwrap_or_else(|panic| {
                Err(Exit::system("keep the registration")(io::Error::other(
                    panic,
                )))
            })
        }
    }
}
