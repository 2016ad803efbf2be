//! One word to all tasks of a service: stop taking work, finish what has begun.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// Tells whether, and waits until, the service was asked to stop.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks the service to stop, by [`Trigger::fire`] or by being dropped.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Asks to stop; again has no effect.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Fires on SIGTERM or SIGINT.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signal() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let (trigger, shutdown) = Self::by_hand();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => info!(signal = "SIGTERM", "stopping"),
                _ = interrupt.recv() => info!(signal = "SIGINT", "stopping"),
            }
            trigger.fire();
        });
        Ok(shutdown)
    }

    /// Fires when the trigger says so.
    #[must_use]
    pub fn by_hand() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// Whether the service was asked to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the service is asked to stop.
    pub async fn requested(mut self) {
        // A trigger that is gone can't fire any more: that is a request, too.
        let _gone = self.0.wait_for(|requested| *requested).await;
    }
}
