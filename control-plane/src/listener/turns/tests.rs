//! A peer that says nothing keeps nobody else from his turn.

use std::{future::pending, net::IpAddr};

use super::*;

fn from(last: u8) -> Option<Asker> {
    Some(Asker::at(IpAddr::from([10, 0, 0, last])))
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_more_has_a_turn_for_a_moment_only() {
    let turns = Turns::new(Bounds {
        all: 8,
        each: lines::Bounds { here: 7, each: 4 },
        held_max: Duration::from_secs(2),
    });
    let mut silent = Vec::new();
    for last in [1, 1, 1, 1, 2, 2, 2, 2] {
        let turn = turns.wait(from(last)).await;
        silent.push(tokio::spawn(turn.take(pending::<()>())));
    }
    let asked = tokio::time::Instant::now();
    let turn = turns.wait(from(3)).await;
    assert_eq!(asked.elapsed().as_secs(), 2);
    assert_eq!(turn.take(async { 7 }).await, 7);
    for one in silent {
        one.abort();
    }
}
