//! Keeps this instance registered: callers find us by what is said here, and believe our word on health.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use usher_config::{
    value::{Name, Port, ServiceName},
    wire::v1::{
        DeregisterRequest, Lease, PlaintextCallers, RegisterRequest, RenewLeaseRequest,
        registry_client::RegistryClient,
    },
};

mod calls;
mod message;

use super::{exit::Exit, exposure::exposed_listener, witness::hands_over};
use crate::{
    callers::{Lists, Told},
    clock,
    control_plane::{ControlPlane, Line},
    health::{Health, Report},
    snapshot::Store,
    tls::Material,
};
use calls::{backoff, may_be_other_elsewhere, may_have_arrived, timed, within};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A renewal is due after a third of a lease. In what is left of it each of three control planes can be asked, even if the
/// first two say nothing: a sixth of the lease for each.
const RENEWALS_IN_A_LEASE: u32 = 6;
const RENEWAL_MIN: Duration = Duration::from_secs(1);
/// Whatever the lease says, renewals keep this distance.
const RENEW_MIN: Duration = Duration::from_millis(200);

/// Who is registered, where, and what it depends on.
#[derive(Debug)]
pub(super) struct Registration {
    /// Where to register.
    pub control_plane: ControlPlane,
    /// Our credentials of the moment.
    pub material: Arc<ArcSwap<Material>>,
    /// The running revision is reported with each renewal.
    pub store: Arc<Store>,
    /// Of which service.
    pub service: ServiceName,
    /// Our name in it.
    pub instance: Name,
    /// Where other sidecars reach us. An unspecified IP stands for the local address of our connection to the control
    /// plane: what works for us towards it works for its other clients towards us, in all simple networks.
    pub address: SocketAddr,
    /// Where we run.
    pub zone: String,
    /// Changes are reported at once.
    pub health: watch::Receiver<Report>,
    /// A control plane that has just been reached may not know us: it is told at once.
    pub greeted: Arc<Notify>,
    /// Who calls us without the mesh's TLS, which is reported too.
    pub callers: Lists,
    /// Told once, when the control plane says that our pod was asked to end.
    pub asked: Option<oneshot::Sender<()>>,
    /// Looked at before we call the application healthy; `None`: the operator has overridden the check.
    pub guarded: Option<Guarded>,
}

/// What must not be reachable around us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guarded {
    /// The application's port.
    pub application: Port,
    /// Our own inbound listener.
    pub inbound: SocketAddr,
    /// The kernel should hand us what others send to the application.
    pub transparent: bool,
}

/// Leave, and say whether every caller knows.
#[derive(Debug)]
pub(super) struct Deregister {
    /// The longest to wait for callers.
    pub wait: Duration,
    /// `true`: every subscriber has dropped us.
    pub confirmed: oneshot::Sender<bool>,
}

impl Registration {
    /// Until told to leave, or until the application turns out to be exposed.
    ///
    /// # Errors
    /// [`Exit::ApplicationExposed`], [`Exit::NotIntercepted`].
    pub(super) async fn run(mut self, mut leave: mpsc::Receiver<Deregister>) -> Result<(), Exit> {
        let (mut lease, mut failures, mut told) = (None::<Lease>, 0_u32, Told::default());
        // Callers may have been told of us, whether we hold a lease or not.
        let mut known = false;
        loop {
            let health = self.health.borrow_and_update().clone();
            if let Err(exposed) = self.check_exposure(health.health).await {
                // It was not when we registered: nothing listened yet. Callers are not sent to nobody for the rest of a lease.
                let leaving = self.leave(lease, known, Duration::ZERO);
                let left = timeout(CALL_TIMEOUT, leaving).await;
                debug!(
                    callers_know = left.unwrap_or(false),
                    "registration taken back"
                );
                return Err(exposed);
            }
            let line = self.control_plane.line(self.material.clone());
            let pause = match self.report(&line, lease.take(), &health, &mut told).await {
                Ok(renewed) => {
                    (failures, known) = (0, true);
                    let pause = Duration::from_millis(renewed.ttl_ms) / 3;
                    if renewed.leave
                        && let Some(asked) = self.asked.take()
                    {
                        // Whoever leaves already need not be asked.
                        let _ = asked.send(());
                    }
                    lease = Some(renewed);
                    pause.max(RENEW_MIN)
                }
                Err((kept, status)) => {
                    // It may be alone without the store that all of them share. To what it refuses, others say no as well.
                    if may_be_other_elsewhere(&status) {
                        self.control_plane.elsewhere(&line);
                    }
                    lease = kept;
                    known |= may_have_arrived(&status);
                    failures = failures.saturating_add(1);
                    let pause = backoff(failures, fastrand::f64());
                    // A lease that is still ours must not end while we wait: no longer than between renewals.
                    let pause = match &lease {
                        Some(lease) => pause.min(Duration::from_millis(lease.ttl_ms) / 3),
                        None => pause,
                    };
                    let reason = self.control_plane.explain(&status);
                    match failures {
                        1 => warn!(reason, retry_after = ?pause, "registration failed"),
                        _ => debug!(reason, retry_after = ?pause, "registration failed"),
                    }
                    pause
                }
            };
            let next = Instant::now() + pause;
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.greeted.notified() => {}
                changed = self.health.changed() => if changed.is_err() { sleep_until(next).await },
                command = leave.recv() => {
                    if let Some(Deregister { wait, confirmed }) = command {
                        // Nobody may be waiting any more.
                        let _ = confirmed.send(self.leave(lease, known, wait).await);
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn check_exposure(&self, health: Health) -> Result<(), Exit> {
        let Some(Guarded {
            application,
            inbound,
            transparent,
        }) = self.guarded
        else {
            return Ok(());
        };
        match exposed_listener(application, Some(inbound)) {
            Ok(None) => Ok(()),
            Ok(Some(listener)) if transparent => {
                let material = self.material.load_full();
                if hands_over(application, &material, &self.service).await {
                    return Ok(());
                }
                Err(Exit::NotIntercepted {
                    listener,
                    application,
                })
            }
            Ok(Some(listener)) => Err(Exit::ApplicationExposed {
                listener,
                application,
            }),
            Err(error) if health == Health::Healthy => Err(Exit::ExposureUnknown { source: error }),
            Err(_) => Ok(()),
        }
    }

    /// Renews, or registers where there is no lease. The lease outlives every failure but NOT_FOUND. Who registers says
    /// of all callers that there are, who renews only if there is something new.
    async fn report(
        &self,
        line: &Line,
        lease: Option<Lease>,
        health: &Report,
        told: &mut Told,
    ) -> Result<Lease, (Option<Lease>, Status)> {
        let (seen, now) = (self.callers.seen(), clock::now());
        let callers = &*told.tellable(&seen);
        if let Some(lease) = lease {
            let news = (!told.is_old(callers)).then(|| message::callers(callers, now));
            let is_told = news.is_some();
            match self.renew(line, &lease, health, news).await {
                Ok(renewed) => {
                    if is_told {
                        told.remember(callers, now);
                    }
                    return Ok(renewed);
                }
                Err(status) if status.code() == Code::NotFound => {
                    info!("lease is gone, registering again");
                }
                Err(status) => return Err((Some(lease), status)),
            }
        }
        let lease = self
            .register(line, health, message::callers(callers, now))
            .await
            .map_err(|status| (None, status))?;
        *told = Told::default();
        told.remember(callers, now);
        info!(service = %self.service, instance = %self.instance, address = %self.address, health = ?health.health, "registered");
        Ok(lease)
    }

    async fn register(
        &self,
        line: &Line,
        health: &Report,
        callers: PlaintextCallers,
    ) -> Result<Lease, Status> {
        let address = self.reachable_address().await?;
        let request = RegisterRequest {
            namespace: self.service.namespace.to_string(),
            service: self.service.name.to_string(),
            instance: self.instance.to_string(),
            address: address.to_string(),
            healthy: health.health == Health::Healthy,
            zone: self.zone.clone(),
            health_reason: health.reason(),
            plaintext_callers: Some(callers),
        };
        let mut registry = RegistryClient::new(line.channel());
        within(CALL_TIMEOUT, async |limit| {
            registry.register(timed(request, limit)).await
        })
        .await
    }

    async fn reachable_address(&self) -> Result<SocketAddr, Status> {
        if !self.address.ip().is_unspecified() {
            return Ok(self.address);
        }
        let ip = self.control_plane.local_address().await;
        let ip = ip.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(SocketAddr::new(ip, self.address.port()))
    }

    async fn renew(
        &self,
        line: &Line,
        lease: &Lease,
        health: &Report,
        callers: Option<PlaintextCallers>,
    ) -> Result<Lease, Status> {
        let request = RenewLeaseRequest {
            namespace: self.service.namespace.to_string(),
            service: self.service.name.to_string(),
            instance: self.instance.to_string(),
            lease_id: lease.lease_id.clone(),
            healthy: health.health == Health::Healthy,
            health_reason: health.reason(),
            revision: self
                .store
                .load()
                .revision()
                .map(|revision| revision.number)
                .unwrap_or_default(),
            plaintext_callers: callers,
        };
        let share = Duration::from_millis(lease.ttl_ms) / RENEWALS_IN_A_LEASE;
        let mut registry = RegistryClient::new(line.channel());
        within(share.clamp(RENEWAL_MIN, CALL_TIMEOUT), async |limit| {
            registry.renew(timed(request, limit)).await
        })
        .await
    }

    /// Whether nobody calls us any more. Whoever does not answer may be gone without a word, and what was asked of it last is
    /// a renewal ago: so a lease is renewed once more before the question that may take long is asked there, and another
    /// control plane is asked if that fails.
    async fn leave(&self, mut lease: Option<Lease>, known: bool, wait: Duration) -> bool {
        if lease.is_none() && !known {
            return true;
        }
        let until = Instant::now() + wait + CALL_TIMEOUT;
        // One more than there are: the connection may be what is broken.
        for _ in 0..=self.control_plane.members() {
            let line = self.control_plane.line(self.material.clone());
            let left = self.leave_by(&line, lease.take(), wait).await;
            let (kept, status) = match left {
                Ok(confirmed) => return confirmed,
                Err(failed) => failed,
            };
            let reason = status.message();
            warn!(
                reason,
                "callers could not be told that this instance leaves"
            );
            if !may_be_other_elsewhere(&status) || Instant::now() >= until {
                return false;
            }
            self.control_plane.elsewhere(&line);
            lease = kept;
        }
        false
    }

    /// A lease that was lost (the control plane is another one, or its answer never came) is had anew: callers may know of us
    /// all the same, and only who holds one can take us out.
    async fn leave_by(
        &self,
        line: &Line,
        lease: Option<Lease>,
        wait: Duration,
    ) -> Result<bool, (Option<Lease>, Status)> {
        let mut told = Told::default();
        let lease = self
            .report(line, lease, &Report::default(), &mut told)
            .await?;
        let left = self.deregister(line, lease.clone(), wait).await;
        left.map_err(|status| (Some(lease), status))
    }

    async fn deregister(&self, line: &Line, lease: Lease, wait: Duration) -> Result<bool, Status> {
        let request = DeregisterRequest {
            namespace: self.service.namespace.to_string(),
            service: self.service.name.to_string(),
            instance: self.instance.to_string(),
            lease_id: lease.lease_id,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let mut registry = RegistryClient::new(line.channel());
        let left = within(wait + CALL_TIMEOUT, async |limit| {
            registry.deregister(timed(request, limit)).await
        });
        left.await.map(|response| response.confirmed)
    }
}

#[cfg(test)]
mod tests;
