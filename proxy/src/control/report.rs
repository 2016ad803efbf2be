//! What people and their tools are told, kept true as time passes: the application's health, and series that ended.

use std::time::Duration;

use tokio::sync::watch;

use super::Standing;
use crate::{health::Report, telemetry::metrics::Metrics};

/// How old the health in [`Standing`] may be.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Nobody need scrape for series to end.
const FORGET_EVERY: Duration = Duration::from_secs(60);

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

/// Never returns.
pub(super) async fn forget_idle_series(metrics: Metrics) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    loop {
        let now = ticks.tick().await;
        metrics.forget_idle(now.into_std());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn series_of_what_is_gone_end_though_nobody_scrapes() {
        let metrics = Metrics::new(1);
        let _held = metrics.attempts("default/held");
        let before = metrics.series();
        drop(metrics.attempts("default/gone"));
        assert!(metrics.series() > before);
        let forgets = forget_idle_series(metrics.clone());
        let hour = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(hour, forgets).await.is_err());
        assert_eq!(metrics.series(), before);
    }
}
