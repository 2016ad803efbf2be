//! Access log: one JSON line per request, off the request path.
//!
//! A worker formats into its own bounded buffer and hands full ones to a writer thread; nobody waits for a
//! disk or a pipe. If the writer cannot keep up, new lines are dropped and counted: losing log lines is bad,
//! losing requests because of log lines is worse. `tracing` is not used here: 2 µs per line, and its
//! fields cannot be bounded.

mod line;
mod writer;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use usher_config::model::{AccessLogMode, Telemetry};

use super::metrics::{Counter, Direction};
use crate::{clock::Tick, error::Flags, random};

pub use writer::AccessLog;

use writer::{Batch, Outlet};

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// For containers.
    Stdout,
    /// Appended to.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// What is said about one request. Absent things are left out of the line.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When it began.
    pub time: SystemTime,
    /// Through this proxy.
    pub direction: Direction,
    /// As sent.
    pub method: &'a str,
    /// As sent.
    pub authority: &'a str,
    /// Normalised; never the query, which may hold secrets.
    pub path: &'a str,
    /// `http1`, `http2`, `grpc` or `tcp`.
    pub protocol: &'a str,
    /// As answered to the caller; 0: none was.
    pub status: u16,
    /// From headers or trailers.
    pub grpc_status: Option<u8>,
    /// All that happened.
    pub flags: Flags,
    /// Slug of a proxy-made answer.
    pub reason: Option<&'a str>,
    /// Why there was no TLS with whom was to answer.
    pub detail: Option<&'a str>,
    /// Traffic or access policy that decided.
    pub policy: Option<&'a str>,
    /// Route that took it.
    pub route: Option<&'a str>,
    /// The caller's verified identity.
    pub source: Option<&'a str>,
    /// The caller's service, where known.
    pub source_service: Option<&'a str>,
    /// The answerer's verified identity.
    pub destination: Option<&'a str>,
    /// The service that was asked.
    pub destination_service: Option<&'a str>,
    /// Where an outsider calls from, as far as a gateway can know.
    pub client: Option<IpAddr>,
    /// The endpoint of the last attempt.
    pub upstream: Option<SocketAddr>,
    /// Made.
    pub attempts: u32,
    /// Of the request's body.
    pub request_bytes: u64,
    /// Of the response's body.
    pub response_bytes: u64,
    /// From the head of the request to the end of the response.
    pub duration: Duration,
    /// From the last attempt's choice to its response's head.
    pub upstream_duration: Option<Duration>,
    /// `x-request-id`.
    pub request_id: Option<&'a str>,
    /// Of the trace it belongs to.
    pub trace_id: Option<u128>,
}

impl Entry<'_> {
    /// Whether the settings want this line.
    pub fn is_wanted(&self, settings: &Telemetry, luck: u64) -> bool {
        let failed = self.status >= 500
            || self.grpc_status.is_some_and(|code| code != 0)
            || self.flags.first().is_some();
        let selected = match settings.access_log {
            AccessLogMode::All => true,
            AccessLogMode::Errors => failed,
            AccessLogMode::Off => false,
        };
        selected && random::happens(settings.access_log_sample.get(), luck)
    }
}

/// A buffer of this size is handed over: large enough that the hand-over costs nothing per line.
const HAND_OVER: usize = 16 * 1024;

/// A buffer never grows beyond this: then lines are dropped.
const BUFFER_MAX: usize = 64 * 1024;

/// How long a line may wait in a buffer.
pub const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// One worker's end. Call [`WorkerLog::flush_due`] from the worker's timer at least every [`FLUSH_AFTER`].
#[derive(Debug)]
pub struct WorkerLog {
    outlet: Option<Outlet>,
    buffer: Vec<u8>,
    lines: u64,
    oldest: Tick,
    dropped: Counter,
    worker: usize,
}

impl WorkerLog {
    /// Writes a line into the buffer: about a microsecond, no allocation once warm.
    pub fn log(&mut self, entry: &Entry<'_>, now: Tick) {
        if self.outlet.is_none() {
            return;
        }
        if self.buffer.len() >= HAND_OVER {
            self.hand_over();
        }
        let before = self.buffer.len();
        line::write(&mut self.buffer, entry);
        if self.buffer.len() > BUFFER_MAX {
            self.buffer.truncate(before);
            self.dropped.add(self.worker, 1);
            return;
        }
        if self.lines == 0 {
            self.oldest = now;
        }
        self.lines += 1;
        if now.since(self.oldest) >= FLUSH_AFTER {
            self.hand_over();
        }
    }

    /// Hands over what has waited long enough.
    pub fn flush_due(&mut self, now: Tick) {
        if self.lines > 0 && now.since(self.oldest) >= FLUSH_AFTER {
            self.hand_over();
        }
    }

    /// Tries; a writer that is behind leaves the buffer here.
    fn hand_over(&mut self) {
        let Some(outlet) = self.outlet.as_mut().filter(|_| self.lines > 0) else {
            return;
        };
        let spare = outlet.spare();
        let batch = Batch {
            bytes: std::mem::replace(&mut self.buffer, spare),
            lines: self.lines,
        };
        match outlet.offer(batch) {
            Ok(()) => self.lines = 0,
            Err(refused) => self.buffer = refused.bytes,
        }
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.hand_over();
        self.dropped.add(self.worker, self.lines);
    }
}

impl AccessLog {
    /// Opens the target and starts the writer thread.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be started.
    pub fn open(target: Target, dropped: Counter) -> io::Result<Self> {
        Self::start(target, dropped)
    }

    /// A worker's end.
    pub fn worker(&self, worker: usize) -> WorkerLog {
        WorkerLog {
            outlet: self.outlet(),
            buffer: Vec::new(),
            lines: 0,
            oldest: Tick::ZERO,
            dropped: self.dropped().clone(),
            worker,
        }
    }
}

#[cfg(test)]
mod tests;
