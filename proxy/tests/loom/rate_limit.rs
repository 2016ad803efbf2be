//! Rate limit buckets: together workers let through no more than one could, also while a bucket is thrown out.

use std::time::Duration;

use loom::{sync::Arc, thread};

#[path = "../../src/policy/rate_limit/bucket.rs"]
mod bucket;
#[path = "../../src/policy/rate_limit/rate.rs"]
mod rate;

use bucket::{Bucket, Moved};
use rate::Rate;

fn take(bucket: &Bucket, now: u64) -> Moved {
    let rate = Rate::new(1, Duration::from_secs(1), 1);
    bucket.step(|full_at| rate.take(full_at, now).ok())
}

#[test]
fn of_two_workers_one_gets_the_only_request() {
    crate::explore(|| {
        let bucket = Arc::new(Bucket::new(1));
        let other = Arc::clone(&bucket);
        let worker = thread::spawn(move || take(&other, 5));
        let own = take(&bucket, 5);
        let both = [own, worker.join().unwrap()];
        let passed = both.iter().filter(|moved| **moved == Moved::To).count();
        assert_eq!(passed, 1);
    });
}

#[test]
fn nobody_takes_from_a_bucket_that_has_left() {
    crate::explore(|| {
        let bucket = Arc::new(Bucket::new(1));
        let other = Arc::clone(&bucket);
        let taker = thread::spawn(move || take(&other, 5));
        let left = bucket.leaves(5);
        // Whoever has taken made it say something, and then it stays.
        match taker.join().unwrap() {
            Moved::To => assert!(!left),
            Moved::Gone => assert!(left),
            Moved::Refused(_) => panic!("it was full"),
        }
    });
}
