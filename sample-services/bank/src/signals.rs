//! Ctrl-C and its relatives: the first asks to close the bank in order, the second ends at once.
//!
//! Who reads our output and leaves (`bank | head`) asks to close too: nobody would ever press Ctrl-C.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    layout::{self, Layout},
    output,
    process::all_end,
    process_table::ProcessTable,
};

/// What a shell reports for a program ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Whether somebody asked the launcher to end.
#[derive(Debug)]
pub(crate) struct Interrupted {
    asked: watch::Receiver<bool>,
    doomed: Doomed,
}

/// The temporary directory in use, if any: it goes with the launcher however that ends.
type Doomed = Arc<Mutex<Option<PathBuf>>>;

impl Interrupted {
    /// Listens from now on, until the process ends.
    ///
    /// # Errors
    /// When the kernel refuses a signal handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (asked, receiver) = watch::channel(false);
        let doomed = Doomed::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let at_once = Arc::clone(&doomed);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                    () = output::nobody_reads() => {
                        asked.send_replace(true);
                        continue;
                    }
                }
                if asked.send_replace(true) {
                    end_at_once(&at_once).await;
                }
            }
        });
        Ok(Self {
            asked: receiver,
            doomed,
        })
    }

    /// This directory is the one to delete when there is no time to close in order; the user's own never is.
    pub(crate) fn dooms(&self, layout: &Layout) {
        let root = layout.is_temporary().then(|| layout.root().to_owned());
        *self.doomed.lock().unwrap_or_else(PoisonError::into_inner) = root;
    }

    /// Waits until somebody asks.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as the process.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.asked.borrow()
    }
}

/// Leaves neither processes nor keys behind, or says where.
async fn end_at_once(doomed: &Doomed) {
    kill_all_below(Pid::this()).await;
    let root = doomed.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(left) = root.and_then(|root| what_is_left(&root)) {
        output::trouble(&left);
    }
    std::process::exit(INTERRUPTED);
}

/// Kills everything that a process started, and waits until it ended: only then nobody writes any more.
async fn kill_all_below(root: Pid) {
    let mut tree = ProcessTable::read().tree(root);
    tree.retain(|pid| *pid != root);
    for pid in &tree {
        // One that has just ended needs no signal. What it started dies with it; see `die_with_launcher`.
        let _ = kill(*pid, Signal::SIGKILL);
    }
    all_end(&tree).await;
}

/// Deletes the directory; what to tell when that fails.
fn what_is_left(root: &Path) -> Option<String> {
    let error = layout::delete(root).err()?;
    Some(format!(
        "bank: {} is left behind, private keys included ({error}): the next start of the bank deletes it",
        root.display()
    ))
}

#[cfg(test)]
mod tests;
