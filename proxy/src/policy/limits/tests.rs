//! A limit is never exceeded and every place comes back.

use std::sync::Arc;

use super::*;

#[test]
fn as_many_as_the_limit_enter() {
    let load = Arc::new(InFlight::new());
    let places: Vec<Place> = (0..10).filter_map(|_| load.enter(3)).collect();
    assert_eq!(places.len(), 3);
    assert_eq!(load.count(), 3);
    drop(places);
    assert_eq!(load.count(), 0);
    assert!(load.enter(0).is_none());
}

#[test]
fn threads_together_never_exceed_the_limit() {
    let load = Arc::new(InFlight::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let place = load.enter(2);
                    // An attempt to enter counts for a moment; places never exceed the bound.
                    assert!(place.is_none() || load.count() <= 2 + 4);
                }
            });
        }
    });
    assert_eq!(load.count(), 0);
}
