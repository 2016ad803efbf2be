//! The kubelet's probes, asked by the sidecar: the kubelet is no member of the mesh, so under `Strict` its own would be
//! refused, and an application that listens on loopback never sees them.
//!
//! `/probe/CONTAINER/WHICH` and `/hook/CONTAINER/WHICH` on the metrics port ask what the settings list (`--probes`) under
//! `CONTAINER/WHICH`, on 127.0.0.1, and nothing else: whoever calls chooses neither address nor path nor headers, and
//! hears whether it passed, not what the application said. Anybody who reaches that port may call, as anybody could have
//! called the application before it was in a mesh; a bounded number at once.

mod ask;
mod danger;

use std::sync::Arc;

use tokio::{sync::Semaphore, time::timeout};

use crate::bootstrap::{Probe, Probes, Question};

pub use ask::Expected;

/// Questions under way at once; a pod has a few probes, one after the other.
const AT_ONCE_MAX: usize = 16;

/// What may be asked, and how often at once.
#[derive(Debug, Clone)]
pub struct Door {
    listed: Arc<Probes>,
    places: Arc<Semaphore>,
}

impl Default for Door {
    fn default() -> Self {
        Self::new(Probes::new())
    }
}

/// How a call ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The application passes.
    Passed,
    /// It does not; what was asked and what came.
    Failed(String),
    /// Nothing of that name is listed.
    Unlisted,
    /// Too many are under way.
    Busy,
}

impl Door {
    /// Of the settings' list.
    pub fn new(listed: Probes) -> Self {
        Self {
            listed: Arc::new(listed),
            places: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    /// Answers a path; `None`: it is none of these.
    pub async fn answer(&self, path: &str) -> Option<Verdict> {
        let (kind, name) = path.strip_prefix('/')?.split_once('/')?;
        let expected = match kind {
            "probe" => Expected::Success,
            "hook" => Expected::AnyAnswer,
            _ => return None,
        };
        let is_hook = name.ends_with("/post-start") || name.ends_with("/pre-stop");
        let listed = self.listed.get(name);
        let Some(probe) = listed.filter(|_| is_hook == (expected == Expected::AnyAnswer)) else {
            return Some(Verdict::Unlisted);
        };
        let Ok(_place) = self.places.try_acquire() else {
            return Some(Verdict::Busy);
        };
        Some(verdict(probe, expected).await)
    }
}

/// Hooks have the pod's whole time to end in; the kubelet hangs up when that is over.
const HOOK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3600);

async fn verdict(probe: &Probe, expected: Expected) -> Verdict {
    let limit = match expected {
        Expected::Success => probe.timeout,
        Expected::AnyAnswer => HOOK_TIMEOUT,
    };
    let found = match timeout(limit, ask::ask(probe, expected)).await {
        Ok(Ok(())) => return Verdict::Passed,
        Ok(Err(found)) => found,
        Err(_) => format!("no answer within {limit:?}"),
    };
    Verdict::Failed(format!("{} → {found}", asked(probe)))
}

/// As people would ask it.
fn asked(probe: &Probe) -> String {
    let port = probe.port;
    match &probe.question {
        Question::Http { path, tls, .. } => {
            let scheme = if *tls { "https" } else { "http" };
            // A query may hold what is not for everybody.
            let path = path.split('?').next().unwrap_or_default();
            format!("GET {scheme}://127.0.0.1:{port}{path}")
        }
        Question::Tcp => format!("TCP connection to 127.0.0.1:{port}"),
        Question::Grpc { .. } => format!("grpc.health.v1.Health/Check on 127.0.0.1:{port}"),
    }
}

#[cfg(test)]
mod tests;
