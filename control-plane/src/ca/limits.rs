//! How often one identity, or one address, may ask for certificates: token buckets, pure.
//!
//! A sidecar asks twice a day. Whoever asks far more often is broken, or has a key that is not theirs, and must neither
//! fill the record of certificates nor keep the others waiting.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// How much is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// At once.
    burst: f64,
    /// After that.
    per_second: f64,
}

impl Rate {
    /// All instances of a large service may start together; one of 5,000 instances has all its certificates after four
    /// minutes.
    pub(super) const IDENTITY: Self = Self {
        burst: 512.0,
        per_second: 20.0,
    };
    /// One machine may have many instances of a service, and all of them renew together when another root signs.
    pub(super) const PLACE: Self = Self {
        burst: 128.0,
        per_second: 2.0,
    };
}

/// Buckets kept. More than the identities of a mesh; beyond it, full ones are forgotten, which changes nothing for them.
const BUCKETS_MAX: usize = 20_000;

/// One bucket for each key.
#[derive(Debug)]
pub(super) struct Limits<K> {
    rate: Rate,
    buckets: HashMap<K, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    /// As time since the limits began.
    at: Duration,
}

impl Bucket {
    fn at(self, rate: Rate, now: Duration) -> Self {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        Self {
            left: (self.left + passed * rate.per_second).min(rate.burst),
            at: now.max(self.at),
        }
    }
}

impl<K: Eq + Hash + Clone> Limits<K> {
    /// All buckets full.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
        }
    }

    /// Whether [`Self::take`] would fail.
    pub(super) fn is_empty(&self, key: &K, now: Duration) -> bool {
        let bucket = self.buckets.get(key);
        bucket.is_some_and(|bucket| bucket.at(self.rate, now).left < 1.0)
    }

    /// Takes one certificate's worth from the bucket of `key`, `now` after the limits began.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(&mut self, key: &K, now: Duration) -> Result<(), Duration> {
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(key) {
            let rate = self.rate;
            self.buckets
                .retain(|_, bucket| bucket.at(rate, now).left < rate.burst);
        }
        let full = Bucket {
            left: self.rate.burst,
            at: now,
        };
        let bucket = self.buckets.get(key).copied().unwrap_or(full);
        let mut bucket = bucket.at(self.rate, now);
        let taken = if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64(
                (1.0 - bucket.left) / self.rate.per_second,
            ))
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
            let mut limits = Limits::new(Rate::IDENTITY);
            let (mut now, mut taken) = (Duration::ZERO, 0_f64);
            for step in steps {
                now += Duration::from_millis(step);
                if limits.take(&"one", now).is_ok() {
                    taken += 1.0;
                }
                prop_assert!(taken <= 512.0 + now.as_secs_f64() * 20.0 + 1e-6);
            }
        }

        /// And whoever waits as long as they were told gets one.
        #[test]
        fn what_is_told_is_enough(asked in 600_usize..2000) {
            let mut limits = Limits::new(Rate::IDENTITY);
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
        let mut limits = Limits::new(Rate::IDENTITY);
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
