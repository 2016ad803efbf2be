//! A limit under concurrent entries.

#[path = "../../src/policy/limits/gauge.rs"]
mod gauge;

use loom::{sync::Arc, thread};

use super::explore;
use gauge::Gauge;

#[test]
fn the_last_place_is_taken_once() {
    explore(|| {
        let gauge = Arc::new(Gauge::new());
        let enter = |gauge: Arc<Gauge>| move || gauge.enter(1);
        let others = [
            thread::spawn(enter(Arc::clone(&gauge))),
            thread::spawn(enter(Arc::clone(&gauge))),
        ];
        let entered = others
            .map(|other| u32::from(other.join().unwrap()))
            .iter()
            .sum::<u32>();
        assert_eq!(entered, 1);
        assert_eq!(gauge.count(), 1);
        gauge.leave();
        assert!(gauge.enter(1));
    });
}
