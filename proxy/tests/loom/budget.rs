//! The retry budget's ledger under concurrent spenders.

#[path = "../../src/policy/retry_budget/ledger.rs"]
mod ledger;

use loom::{sync::Arc, thread};

use super::explore;
use ledger::Ledger;

#[test]
fn the_last_retry_is_never_granted_twice() {
    explore(|| {
        let ledger = Arc::new(Ledger::new());
        let other = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.spend(3, 1))
        };
        let granted = u64::from(ledger.spend(3, 1)) + u64::from(other.join().unwrap());
        assert!(granted <= 1);
        assert_eq!(ledger.spent(3), granted, "what was refused was taken back");
    });
}

#[test]
fn the_minimum_rate_is_exact() {
    explore(|| {
        let ledger = Arc::new(Ledger::new());
        let other = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.spend_minimum(3, 5, 1))
        };
        let here = ledger.spend_minimum(3, 5, 1);
        assert!(here ^ other.join().unwrap());
    });
}
