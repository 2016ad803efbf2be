//! What people are told of the application's health, kept true as time passes.

use std::time::Duration;

use tokio::sync::watch;

use super::Standing;
use crate::health::Report;

/// How old the health in [`Standing`] may be.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Never returns. Twice a second is enough for people; a reason that changes is not announced by the channel.
pub(super) async fn show_health(health: watch::Receiver<Report>, standing: Standing) {
    let mut ticks = tokio::time::interval(HEALTH_EVERY);
    loop {
        ticks.tick().await;
        let now = health.borrow().clone();
        if standing.load().health.as_ref() != Some(&now) {
            standing.tell(|facts| facts.health = Some(now));
        }
    }
}
