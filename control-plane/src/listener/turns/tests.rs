//! A crowd from one address, or one that says nothing, keeps nobody else from his turn.

use std::future::pending;

use futures_util::FutureExt as _;

use super::*;

fn turns() -> Turns {
    Turns::new(Bounds {
        all: 8,
        each: 4,
        held_max: Duration::from_secs(2),
    })
}

fn from(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, last]))
}

#[tokio::test]
async fn who_waits_behind_his_own_stands_in_nobody_elses_way() {
    let turns = turns();
    let crowd: Vec<Turn> =
        futures_util::future::join_all((0..4).map(|_| turns.wait(from(1)))).await;
    let mut behind: Vec<_> = (0..20).map(|_| Box::pin(turns.wait(from(1)))).collect();
    for one in &mut behind {
        assert!(one.now_or_never().is_none(), "its address has its share");
    }
    let other = turns.wait(from(2)).now_or_never();
    assert!(other.is_some(), "another address has turns of its own");
    drop((crowd, other));
    let next = (&mut behind[0]).now_or_never();
    assert!(next.is_some(), "it is its turn");
    drop((behind, next));
    assert!(lock(&turns.each).is_empty(), "nobody is remembered");
}

#[tokio::test]
async fn this_machine_has_more_than_one_address_and_leaves_some() {
    let turns = turns();
    let here = Some(IpAddr::from([127, 0, 0, 1]));
    let all: Vec<Turn> = futures_util::future::join_all((0..7).map(|_| turns.wait(here))).await;
    assert!(turns.wait(here).now_or_never().is_none());
    assert!(turns.wait(from(1)).now_or_never().is_some());
    drop(all);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_more_has_a_turn_for_a_moment_only() {
    let turns = turns();
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
