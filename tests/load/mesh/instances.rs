//! The instances behind the services: registered, renewed in time and replaced through the registry's own calls, by one
//! connection for each account.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, stream};
use usher_config::wire::v1::{
    DeregisterRequest, DeregisterResponse, Lease, RegisterRequest, RenewLeaseRequest,
};

use super::{plan::Plan, wire::Connection};

/// A third of a lease, as sidecars do.
const RENEWAL: Duration = Duration::from_secs(5);

/// Renewals are spread over as many moments, as those of sidecars are.
const MOMENTS: usize = 100;

/// Calls at once on one connection: fewer than the control plane allows.
const AT_ONCE: usize = 16;

/// Service and instance.
pub(super) type Place = (usize, String);

/// All of them. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Instances(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan: Plan,
    /// By account.
    connections: Vec<Connection>,
    leases: Mutex<BTreeMap<Place, String>>,
    /// Renewals wait: what is measured then is something else.
    paused: AtomicBool,
    lost: AtomicU64,
}

impl Instances {
    pub(super) fn new(plan: Plan, connections: Vec<Connection>) -> Self {
        Self(Arc::new(Inner {
            plan,
            connections,
            leases: Mutex::default(),
            paused: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }))
    }

    fn leases(&self) -> MutexGuard<'_, BTreeMap<Place, String>> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, service: usize) -> Result<&Connection> {
        let account = self.0.plan.account(service);
        self.0.connections.get(account).context("no such account")
    }

    /// Registers all that the plan has, and renews them from then on.
    pub(super) async fn start(&self) -> Result<()> {
        for account in self.0.plan.accounts() {
            let this = self.clone();
            tokio::spawn(async move { this.renew_for_ever(account).await });
        }
        let all = (0..self.0.plan.endpoints).map(|endpoint| async move {
            let (service, number) = self.0.plan.place(endpoint);
            self.put(&(service, format!("i-{number}")), 0).await
        });
        let at_once = AT_ONCE * self.0.connections.len();
        let mut registered = stream::iter(all).buffer_unordered(at_once);
        while let Some(one) = registered.next().await {
            one?;
        }
        Ok(())
    }

    /// Registers an instance, or the same again at another address.
    pub(super) async fn put(&self, place: &Place, edit: u16) -> Result<()> {
        let (service, instance) = place;
        let address = Ipv4Addr::from(0x0a00_0000 + u32::try_from(*service)?);
        let request = RegisterRequest {
            namespace: "default".to_owned(),
            service: Plan::service(*service),
            instance: instance.clone(),
            address: SocketAddr::from((address, 20_000 + edit)).to_string(),
            healthy: true,
            ..Default::default()
        };
        let connection = self.connection(*service)?;
        let lease: Lease = connection
            .call("/usher.v1.Registry/Register", &request)
            .await
            .with_context(|| format!("register {place:?}"))?;
        self.leases().insert(place.clone(), lease.lease_id);
        Ok(())
    }

    /// Takes an instance out; whether all who called it have dropped it within `wait`.
    pub(super) async fn take_out(&self, place: &Place, wait: Duration) -> Result<bool> {
        let (service, instance) = place;
        let lease = self.leases().remove(place).context("no such instance")?;
        let request = DeregisterRequest {
            namespace: "default".to_owned(),
            service: Plan::service(*service),
            instance: instance.clone(),
            lease_id: lease,
            wait_ms: u64::try_from(wait.as_millis())?,
        };
        let connection = self.connection(*service)?;
        let answer: DeregisterResponse = connection
            .call("/usher.v1.Registry/Deregister", &request)
            .await
            .with_context(|| format!("deregister {place:?}"))?;
        Ok(answer.confirmed)
    }

    /// The names of a service's instances.
    pub(super) fn of(&self, service: usize) -> Vec<String> {
        let leases = self.leases();
        let own = leases.range((service, String::new())..(service + 1, String::new()));
        own.map(|((_, instance), _)| instance.clone()).collect()
    }

    /// For seconds: a lease has room for two renewals that do not come.
    pub(super) fn pause(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Relaxed);
    }

    /// Leases that ended, because this machine was too busy to renew them, or the control plane to hear of it.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    async fn renew_for_ever(&self, account: usize) {
        let mut moments = tokio::time::interval(RENEWAL / u32::try_from(MOMENTS).unwrap_or(1));
        loop {
            let plan = self.0.plan;
            let own = |((service, _), _): &(&Place, &String)| plan.account(*service) == account;
            let all: Vec<(Place, String)> = self
                .leases()
                .iter()
                .filter(own)
                .map(|(place, lease)| (place.clone(), lease.clone()))
                .collect();
            for moment in 0..MOMENTS {
                moments.tick().await;
                while self.0.paused.load(Ordering::Relaxed) {
                    moments.tick().await;
                }
                let due: Vec<(Place, String)> =
                    all.iter().skip(moment).step_by(MOMENTS).cloned().collect();
                let renewals = due.into_iter().map(|(place, lease)| async move {
                    self.renew(&place, &lease).await;
                });
                let mut renewals = stream::iter(renewals).buffer_unordered(AT_ONCE);
                while let Some(()) = renewals.next().await {}
            }
        }
    }

    async fn renew(&self, place: &Place, lease: &str) {
        let (service, instance) = place;
        let is_held = || self.leases().get(place).is_some_and(|held| held == lease);
        if !is_held() {
            return;
        }
        let request = RenewLeaseRequest {
            namespace: "default".to_owned(),
            service: Plan::service(*service),
            instance: instance.clone(),
            lease_id: lease.to_owned(),
            healthy: true,
            ..Default::default()
        };
        let Ok(connection) = self.connection(*service) else {
            return;
        };
        let renewed = connection
            .call::<Lease>("/usher.v1.Registry/Renew", &request)
            .await;
        // It may have been replaced while the call was under way. Else it comes back, as a sidecar does.
        if renewed.is_err() && is_held() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            let _ = self.put(place, 0).await;
        }
    }
}
