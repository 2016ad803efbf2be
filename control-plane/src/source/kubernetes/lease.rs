//! Which control plane writes statuses: the one that holds a Lease (coordination.k8s.io/v1). Nothing else waits for it.
//!
//! A lease that was not renewed for its time, by our own clock since we have seen it change last, is nobody's: clocks of two
//! machines are never compared. Whoever writes it, writes it for the version that it has read.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Error, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info};

/// In our own namespace.
const NAME: &str = "usher-status";

/// A holder that says nothing for so long has none any more.
const HELD: Duration = Duration::from_secs(15);

/// Three times as often.
const RENEW: Duration = Duration::from_secs(5);

/// A holder stops to believe that it is one before another could.
const BELIEVED: Duration = Duration::from_secs(10);

/// What is known of the lease. Pure.
#[derive(Debug, Default)]
struct Seen {
    /// Who has it, and how often it was written, as far as can be told.
    mark: Option<(String, String)>,
    since: Option<Instant>,
}

impl Seen {
    /// Whether we may write it: it is ours, nobody's, or of somebody who is silent.
    fn may_take(&mut self, us: &str, lease: Option<&Lease>, now: Instant) -> bool {
        let Some(lease) = lease else { return true };
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.clone());
        let holder = holder.unwrap_or_default();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let mark = Some((holder.clone(), version));
        if self.mark != mark {
            (self.mark, self.since) = (mark, Some(now));
        }
        let silent = self.since.map(|since| now.saturating_duration_since(since));
        holder.is_empty() || holder == us || silent.is_some_and(|silent| silent > HELD)
    }
}

/// Keeps the lease, or tries to have it, for ever. `until`: when we may last believe that it is ours.
pub(super) async fn keep(client: Client, until: watch::Sender<Option<Instant>>) {
    let leases = Api::<Lease>::default_namespaced(client);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let us = format!("{}-{}", host.trim(), uuid::Uuid::new_v4().simple());
    let mut seen = Seen::default();
    loop {
        let began = Instant::now();
        let turn = timeout(RENEW, turn(&leases, &us, &mut seen)).await;
        let is_held = match turn {
            Ok(Ok(is_held)) => is_held,
            Ok(Err(error)) => {
                debug!(%error, lease = NAME, "the lease of who writes statuses could not be had");
                false
            }
            Err(_) => false,
        };
        let before = *until.borrow();
        if is_held {
            if before.is_none() {
                info!(
                    lease = NAME,
                    "this control plane writes the statuses of objects"
                );
            }
            until.send_replace(Some(began + BELIEVED));
        } else if before.is_some_and(|until| until <= Instant::now()) {
            info!(
                lease = NAME,
                "another control plane writes the statuses of objects, or none can"
            );
            until.send_replace(None);
        }
        sleep(RENEW).await;
    }
}

/// Whether it is ours now.
async fn turn(leases: &Api<Lease>, us: &str, seen: &mut Seen) -> Result<bool, Error> {
    let found = leases.get_opt(NAME).await?;
    if !seen.may_take(us, found.as_ref(), Instant::now()) {
        return Ok(false);
    }
    let now = MicroTime(Timestamp::now());
    let spec = LeaseSpec {
        holder_identity: Some(us.to_owned()),
        lease_duration_seconds: i32::try_from(HELD.as_secs()).ok(),
        renew_time: Some(now),
        ..LeaseSpec::default()
    };
    let params = PostParams::default();
    let written = match found {
        Some(found) => {
            let lease = Lease {
                spec: Some(spec),
                ..found
            };
            leases.replace(NAME, &params, &lease).await
        }
        None => {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(spec),
            };
            leases.create(&params, &lease).await
        }
    };
    match written {
        Ok(_) => Ok(true),
        // Somebody else was faster.
        Err(Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
