//! Metric series of what is gone end, though nobody scrapes.

use std::time::Duration;

use crate::telemetry::metrics::Metrics;

/// A service that comes back within it goes on with its series.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Never returns.
pub(super) async fn forget_idle(metrics: Metrics) {
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
        let forgets = forget_idle(metrics.clone());
        let hour = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(hour, forgets).await.is_err());
        assert_eq!(metrics.series(), before);
    }
}
