//! Versions follow content; bursts end.

use std::time::{Duration, Instant};

use usher_config::wire::v1;

use super::*;

#[test]
fn a_version_is_the_content_and_nothing_else() {
    let revision = |number| {
        Resource::encode(&v1::Revision {
            number,
            digest: "x".into(),
        })
    };
    assert_eq!(revision(1), revision(1));
    assert_ne!(revision(1).version, revision(2).version);
    assert_eq!(revision(1).version.len(), 32);
}

#[test]
fn a_burst_ends_when_it_is_quiet_or_has_lasted_long_enough() {
    let (mut burst, start) = (Debounce::default(), Instant::now());
    assert_eq!(burst.due(), None);
    burst.changed(start);
    assert_eq!(burst.due(), Some(start + Duration::from_millis(10)));
    for millis in 1..=200 {
        burst.changed(start + Duration::from_millis(millis));
    }
    assert_eq!(burst.due(), Some(start + Duration::from_millis(100)));
    burst.done();
    assert_eq!(burst.due(), None);
}
