//! The thread that writes, and the bounded way to it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
};

use super::{Counter, Target};

/// Buffers under way to the writer. With a worker's own they bound the log's memory to about 4 MiB.
const QUEUE: usize = 64;

/// Some lines.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// A batch, and where its emptied buffer goes.
#[derive(Debug)]
struct Delivery {
    batch: Batch,
    back: SyncSender<Vec<u8>>,
}

/// The access log of a proxy. Dropping it waits for what the workers have handed over, if they are gone.
#[derive(Debug)]
pub struct AccessLog {
    queue: Option<SyncSender<Delivery>>,
    thread: Option<JoinHandle<()>>,
    dropped: Counter,
}

/// A worker's way to the writer.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: SyncSender<Delivery>,
    back: SyncSender<Vec<u8>>,
    spares: Receiver<Vec<u8>>,
}

impl AccessLog {
    pub(super) fn start(target: Target, dropped: Counter) -> io::Result<Self> {
        let output: Box<dyn Write + Send> = match target {
            Target::Off => {
                return Ok(Self {
                    queue: None,
                    thread: None,
                    dropped,
                });
            }
            Target::Stdout => Box::new(io::stdout()),
            Target::File(path) => {
                // Paths and callers are nobody else's affair; a file that is there keeps the mode that its owner gave it.
                let mut options = OpenOptions::new();
                Box::new(options.create(true).append(true).mode(0o600).open(path)?)
            }
        };
        let (queue, deliveries) = sync_channel(QUEUE);
        let lost = dropped.clone();
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(output, &deliveries, &lost))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            dropped,
        })
    }

    pub(super) fn outlet(&self) -> Option<Outlet> {
        let (back, spares) = sync_channel(2);
        self.queue.clone().map(|queue| Outlet {
            queue,
            back,
            spares,
        })
    }

    pub(super) fn dropped(&self) -> &Counter {
        &self.dropped
    }

    /// Waits until everything that was handed over is written. Workers' ends must be dropped before.
    pub fn finish(mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing left to write.
            let _ = thread.join();
        }
    }
}

impl Outlet {
    /// An emptied buffer, or a new one.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.spares.try_recv().unwrap_or_default()
    }

    /// One whose writer is stuck.
    #[cfg(test)]
    pub(super) fn stuck() -> Self {
        let (queue, never_read) = sync_channel(0);
        std::mem::forget(never_read);
        let (back, spares) = sync_channel(2);
        Self {
            queue,
            back,
            spares,
        }
    }

    /// Hands over, or gives the batch back: never waits.
    pub(super) fn offer(&self, batch: Batch) -> Result<(), Batch> {
        let delivery = Delivery {
            batch,
            back: self.back.clone(),
        };
        self.queue
            .try_send(delivery)
            .map_err(|refused| match refused {
                TrySendError::Full(delivery) | TrySendError::Disconnected(delivery) => {
                    delivery.batch
                }
            })
    }
}

/// Until all senders are gone. A target that fails (disk full, closed pipe) loses lines, which are counted;
/// the next batch tries again.
fn write_all(mut output: Box<dyn Write + Send>, deliveries: &Receiver<Delivery>, lost: &Counter) {
    for Delivery {
        batch: Batch { mut bytes, lines },
        back,
    } in deliveries
    {
        if output
            .write_all(&bytes)
            .and_then(|()| output.flush())
            .is_err()
        {
            lost.add(usize::MAX, lines);
        }
        bytes.clear();
        let _ = back.try_send(bytes);
    }
}
