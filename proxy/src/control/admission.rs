//! Asks the control plane whether our identity may be the service whose name we were given.
//!
//! Whoever serves would hear it from its registration; a workload that only calls never registers, and a token of
//! another account would let it run under that account's name without a word. A refusal ends nothing here: configuration
//! may come later than the sidecar. Whoever started us may decide otherwise. An admission is asked for again now and
//! then: configuration may also take it back.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::sleep;
use tonic::{Code, Response, Status};
use tracing::{error, info, warn};

use usher_config::{
    value::{Name, ServiceName},
    wire::v1::{AdmitRequest, AdmitResponse, registry_client::RegistryClient},
};

use super::standing::{Admission, Standing};
use crate::{control_plane::ControlPlane, tls::Material};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// How long an admission is taken for granted; half of it at least.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The same while nobody can call us: somebody has just been told to write a Service.
const UNCALLED_AGAIN: Duration = Duration::from_secs(5);

/// What to ask, and where the answer is left.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) control_plane: ControlPlane,
    pub(super) material: Arc<ArcSwap<Material>>,
    pub(super) service: ServiceName,
    pub(super) instance: Name,
    /// There is an application for others to call.
    pub(super) serves: bool,
    pub(super) standing: Standing,
    /// [`ASK_AGAIN`].
    pub(super) again: Duration,
}

impl Question {
    /// For ever: often until the answer is yes, then now and then, for configuration may change.
    pub(super) async fn ask(self) {
        let mut failures = 0_u32;
        loop {
            let remarks = self.standing.load().for_operators();
            let answer = self.once(&remarks).await;
            let is_clear = match &answer {
                Ok(answer) => {
                    self.warned(&answer.warning);
                    self.admitted("control plane admits this identity")
                }
                Err(status) if status.code() == Code::Unimplemented => self.admitted(
                    "control plane is older than this sidecar and cannot say whether it admits this \
                     identity: taken for admitted",
                ),
                Err(status) if status.code() == Code::PermissionDenied => self.refused(status),
                Err(status) => self.unanswered(status),
            };
            failures = if is_clear {
                0
            } else {
                failures.saturating_add(1)
            };
            let full = match failures {
                0 if self.standing.load().uncalled => self.again.min(UNCALLED_AGAIN),
                0 => self.again,
                _ => BACKOFF_MIN
                    .saturating_mul(1 << failures.min(16))
                    .min(BACKOFF_MAX),
            };
            tokio::select! {
                () = sleep(full.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                () = self.other_remarks(&remarks), if is_clear => {}
            }
        }
    }

    /// Operators should not hear of them a minute later.
    async fn other_remarks(&self, told: &[String]) {
        while self.standing.load().for_operators() == told {
            sleep(LOOK_EVERY).await;
        }
    }

    async fn once(&self, remarks: &[String]) -> Result<AdmitResponse, Status> {
        let mut request = tonic::Request::new(AdmitRequest {
            namespace: self.service.namespace.to_string(),
            service: self.service.name.to_string(),
            instance: self.instance.to_string(),
            serves: self.serves,
            remarks: remarks.to_vec(),
        });
        request.set_timeout(CALL_TIMEOUT);
        let line = self.control_plane.line(self.material.clone());
        let answer = RegistryClient::new(line.channel()).admit(request).await;
        answer.map(Response::into_inner)
    }

    /// Says what is most likely not meant, whenever it begins.
    fn warned(&self, warning: &str) {
        let uncalled = !warning.is_empty();
        if self.standing.load().uncalled == uncalled {
            return;
        }
        if uncalled {
            warn!(reason = warning, "nobody can call this application");
        }
        self.standing.tell(|facts| {
            facts.uncalled = uncalled;
            facts.notices.extend(uncalled.then(|| warning.to_owned()));
        });
    }

    /// Says why, the first time.
    fn admitted(&self, why: &str) -> bool {
        if self.standing.load().admission != Admission::Admitted {
            info!(service = %self.service, "{why}");
            self.standing.tell(|facts| {
                facts.admission = Admission::Admitted;
                facts.waiting_for = None;
            });
        }
        true
    }

    fn refused(&self, status: &Status) -> bool {
        let refusal = Admission::Refused(status.message().to_owned());
        if self.standing.load().admission != refusal {
            error!(
                reason = status.message(),
                "control plane does not admit this identity"
            );
            self.standing.tell(|facts| {
                facts.admission = refusal;
                facts.waiting_for = None;
            });
        }
        false
    }

    /// A control plane that is away takes back nothing; who was admitted waits for nothing.
    fn unanswered(&self, status: &Status) -> bool {
        if self.standing.load().admission == Admission::Admitted {
            return true;
        }
        let reason = self.control_plane.explain(status);
        self.standing.tell(|facts| facts.waiting_for = Some(reason));
        false
    }
}

#[cfg(test)]
mod tests;
