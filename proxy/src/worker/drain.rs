//! Drain: one value that every worker watches, moved forward by the control thread only.

use tokio::sync::watch;

/// How far leaving has come. Only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Normal work.
    Serving,
    /// Callers are told to go elsewhere (GOAWAY, `Connection: close`); their streams finish. New connections
    /// are still accepted: some callers have not heard of it yet.
    InboundDraining,
    /// The application has ended or will call nobody any more: its connections are told to close too.
    OutboundDraining,
}

/// The control thread's end.
#[derive(Debug)]
pub struct DrainTrigger(watch::Sender<Phase>);

/// A worker's end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Phase>);

/// Both ends.
pub fn drain() -> (DrainTrigger, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (DrainTrigger(sender), Drain(receiver))
}

impl DrainTrigger {
    /// Moves forward to `phase`; never back.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}

impl Drain {
    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns once `phase` is reached. If the control thread is gone, never: then the process is ending anyway.
    pub async fn reached(&mut self, phase: Phase) {
        if self.0.wait_for(|current| *current >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
