//! How often one identity, or one address, may ask for certificates: token buckets, pure.
//!
//! A sidecar asks twice a day. Whoever asks far more often is broken, or has a key that is not theirs, and must neither
//! fill the record of certificates nor keep the others waiting.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// Asked for at once: all instances of a large service may start together.
const BURST: f64 = 512.0;

/// Per second, after that: a service of 5,000 instances has all its certificates after four minutes.
const PER_SECOND: f64 = 20.0;

/// Buckets kept. More than the identities of a mesh; beyond it, full ones are forgotten, which changes nothing for them.
const BUCKETS_MAX: usize = 20_000;

/// One bucket for each key.
#[derive(Debug)]
pub(super) struct Limits<K> {
    buckets: HashMap<K, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    /// As time since the limits began.
    at: Duration,
}

impl Bucket {
    fn at(self, now: Duration) -> Self {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        Self {
            left: (self.left + passed * PER_SECOND).min(BURST),
            at: now.max(self.at),
        }
    }
}

impl<K> Default for Limits<K> {
    fn default() -> Self {
        Self {
            buckets: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash + Clone> Limits<K> {
    /// Whether [`Self::take`] would fail.
    pub(super) fn is_empty(&self, key: &K, now: Duration) -> bool {
        let bucket = self.buckets.get(key);
        bucket.is_some_and(|bucket| bucket.at(now).left < 1.0)
    }

    /// Takes one certificate's worth from the bucket of `key`, `now` after the limits began.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(&mut self, key: &K, now: Duration) -> Result<(), Duration> {
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(key) {
            self.buckets.retain(|_, bucket| bucket.at(now).left < BURST);
        }
        let full = Bucket {
            left: BURST,
            at: now,
        };
        let mut bucket = self.buckets.get(key).copied().unwrap_or(full).at(now);
        let taken = if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.left) / PER_SECOND))
        };
        // When everybody is at it, nobody new is counted: better than to keep out who did nothing.
        if self.buckets.len() < BUCKETS_MAX || self.buckets.contains_key(key) {
            self.buckets.insert(key.clone(), bucket);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the times: never more than the burst and what has dripped in since.
        #[test]
        fn nobody_gets_more_than_burst_and_rate(steps in prop::collection::vec(0_u64..500, 1..2000)) {
            let mut limits = Limits::default();
            let (mut now, mut taken) = (Duration::ZERO, 0_f64);
            for step in steps {
                now += Duration::from_millis(step);
                if limits.take(&"one", now).is_ok() {
                    taken += 1.0;
                }
                prop_assert!(taken <= BURST + now.as_secs_f64() * PER_SECOND + 1e-6);
            }
        }

        /// And whoever waits as long as they were told gets one.
        #[test]
        fn what_is_told_is_enough(asked in 600_usize..2000) {
            let mut limits = Limits::default();
            let mut now = Duration::ZERO;
            for _ in 0..asked {
                if let Err(wait) = limits.take(&"one", now) {
                    now += wait + Duration::from_micros(1);
                    prop_assert!(limits.take(&"one", now).is_ok());
                }
            }
        }
    }

    #[test]
    fn one_that_asks_too_often_is_nobody_elses_trouble() {
        let mut limits = Limits::default();
        while limits.take(&"loud", Duration::ZERO).is_ok() {}
        assert_eq!(limits.take(&"quiet", Duration::ZERO), Ok(()));
        for number in 0..2 * BUCKETS_MAX {
            let name: &str = format!("one {number}").leak();
            let _ = limits.take(&name, Duration::ZERO);
        }
        assert!(limits.buckets.len() <= BUCKETS_MAX, "memory is bounded");
        assert!(limits.take(&"loud", Duration::ZERO).is_err(), "still known");
    }
}
