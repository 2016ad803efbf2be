//! Waiting for a fact instead of for a time.

use std::time::{Duration, Instant};

/// Asks every 20 ms until `probe` gives a value; panics with `what` after 20 s.
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_for(Duration::from_secs(20), what, probe).await
}

/// As [`eventually`], with a deadline of its own.
///
/// # Panics
/// When the deadline passes.
pub async fn eventually_for<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(
            began.elapsed() < limit,
            "still not true after {limit:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
