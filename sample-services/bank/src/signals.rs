//! Ctrl-C and its relatives: the first asks to close the bank in order, the second ends at once.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// What a shell reports for a program ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Whether somebody asked the launcher to end.
#[derive(Debug)]
pub(crate) struct Interrupted(watch::Receiver<bool>);

impl Interrupted {
    /// Listens from now on, until the process ends.
    ///
    /// # Errors
    /// When the kernel refuses a signal handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (asked, receiver) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if asked.send_replace(true) {
                    // The kernel kills all we started when we end; see `die_with_launcher`.
                    std::process::exit(INTERRUPTED);
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Waits until somebody asks.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as the process.
        let _ = self.0.wait_for(|asked| *asked).await;
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}
