//! What a second try that failed says about the request.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use crate::error::Processing;

use super::*;

#[test]
fn a_repeat_that_nobody_saw_does_not_hide_a_first_try_that_somebody_may_have_seen() {
    let endpoint: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let race = ProxyError::IdleRace {
        endpoint,
        idled: Duration::from_secs(1),
    };
    let refused = ProxyError::ConnectFailed {
        endpoint,
        cause: ErrorKind::ConnectionRefused,
    };
    let reset = |processing| ProxyError::UpstreamReset {
        endpoint,
        processing,
    };
    let unseen = || reset(Processing::Unprocessed);
    let unknown = || reset(Processing::Unknown);
    for (first, second, unprocessed) in [
        (None, refused.clone(), true),
        (None, unknown(), false),
        (Some(unseen()), refused.clone(), true),
        (Some(unseen()), unknown(), false),
        (Some(race.clone()), refused, false),
        (Some(race.clone()), unseen(), false),
        (Some(race), unknown(), false),
    ] {
        let case = format!("{first:?} {second:?}");
        assert_eq!(
            either(first, second).is_unprocessed(),
            unprocessed,
            "{case}"
        );
    }
}
