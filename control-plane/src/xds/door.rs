//! Where streams come in: [`Admission`] decides, this waits.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::Status;
use tracing::debug;
use usher_config::{value::SpiffeId, wire::RETRY_PUSHBACK};

use super::admission::{Admission, Bounds, Decision};
use crate::{
    shares::{
        Asker,
        lines::{self, Lines},
    },
    telemetry::metrics::StreamMetrics,
};

/// 256: what is held for each is its first batch, 100 KiB for a sidecar with ten services, so 25 MiB for all; and at a
/// distance of 50 ms from acknowledgement to acknowledgement they still are 5,000 a second, more than two cores make.
///
/// A line of 20 s: to wait costs nobody anything. Who would wait longer may find another control plane that has time.
///
/// Away for 10 s at most: the line has moved at the pace of a core that shakes hands with everybody else, and moves faster
/// later. To be early costs one more question over a connection that is there.
const BOUNDS: Bounds = Bounds {
    places: 256,
    wait_max: Duration::from_secs(20),
    away_max: Duration::from_secs(10),
};

/// Of the places, for streams of one identity: half. Who has stolen one must not keep all others from theirs. A deployment of
/// thousands that share one stands in a line of its own, which moves as fast as the other: what takes time is the CPU.
const OF_ONE_IDENTITY: usize = BOUNDS.places / 2;

/// When whoever has waited in vain among those of its identity is to come again, at the soonest.
const AGAIN: Duration = Duration::from_secs(1);

/// For how long a place is held at most. A first batch takes milliseconds; who needs longer is slow, or means harm, and goes
/// on without one.
pub(super) const PLACE_HELD_MAX: Duration = Duration::from_secs(3);

/// One control plane's. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    admission: Mutex<Admission>,
    places: Arc<Semaphore>,
    /// Before the line of all: nobody is counted there who only waits for his own.
    lines: Lines,
    wait_max: Duration,
    metrics: Arc<StreamMetrics>,
}

/// A first snapshot may be made; or, before there is a permit, a place in the line. Given back when dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Place {
    door: Door,
    permit: Option<OwnedSemaphorePermit>,
    /// Of its identity; held as long.
    _turn: lines::Turn,
}

impl Door {
    pub(super) fn new(metrics: Arc<StreamMetrics>) -> Self {
        Self::with(BOUNDS, OF_ONE_IDENTITY, metrics)
    }

    pub(super) fn with(
        bounds: Bounds,
        of_one_identity: usize,
        metrics: Arc<StreamMetrics>,
    ) -> Self {
        Self(Arc::new(Inner {
            admission: Mutex::new(Admission::new(bounds)),
            places: Arc::new(Semaphore::new(bounds.places)),
            lines: Lines::new(lines::Bounds {
                here: of_one_identity,
                each: of_one_identity,
            }),
            wait_max: bounds.wait_max,
            metrics,
        }))
    }

    /// A place for somebody, perhaps after a while in line.
    ///
    /// # Errors
    /// UNAVAILABLE, with the moment in which to come again.
    pub(super) async fn enter(&self, who: &SpiffeId) -> Result<Place, Status> {
        let own = self.0.lines.wait(Asker::Proven(who.clone()));
        let Ok(turn) = timeout(self.0.wait_max, own).await else {
            // It has waited for as long as anybody does.
            return Err(self.send_away(AGAIN.mul_f64(1.0 + chance())));
        };
        let decision = self.update(|admission| admission.comes(Instant::now(), chance()));
        if let Decision::ComesAgain { after } = decision {
            return Err(self.send_away(after));
        }
        let mut place = Place {
            door: self.clone(),
            permit: None,
            _turn: turn,
        };
        // Never closed.
        place.permit = Arc::clone(&self.0.places).acquire_owned().await.ok();
        Ok(place)
    }

    fn send_away(&self, after: Duration) -> Status {
        self.0.metrics.refused.inc();
        debug!(?after, "a stream was told to come again");
        later(after)
    }

    fn update<T>(&self, change: impl FnOnce(&mut Admission) -> T) -> T {
        let mut admission = self.admission();
        let done = change(&mut admission);
        let waiting = i64::try_from(admission.waiting()).unwrap_or(i64::MAX);
        self.0.metrics.waiting.set(waiting);
        done
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        // Each change is a few numbers.
        let admission = self.0.admission.lock();
        admission.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_inside = self.permit.is_some();
        self.door.update(|admission| match was_inside {
            true => admission.leaves(Instant::now()),
            false => admission.gives_up(),
        });
    }
}

/// gRPC's word for it (gRFC A6), which `usher-proxy` and clients of others' obey.
fn later(after: Duration) -> Status {
    let after = after.max(Duration::from_millis(1));
    let mut status = Status::unavailable(format!(
        "more sidecars are here at once than get their configuration at once: this one is expected again in {after:.1?}"
    ));
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let metadata = status.metadata_mut();
    metadata.insert(RETRY_PUSHBACK, millis.into());
    status
}

/// From 0 to 1.
fn chance() -> f64 {
    let drawn = uuid::Uuid::new_v4().as_u128() % 1_000;
    f64::from(u16::try_from(drawn).unwrap_or(0)) / 1_000.0
}

#[cfg(test)]
mod tests;
