//! A crowd of one asker keeps nobody else from his turn.

use std::net::IpAddr;

use futures_util::{FutureExt as _, future::join_all};

use super::*;

const BOUNDS: Bounds = Bounds { here: 7, each: 4 };

fn at(last: u8) -> Asker {
    Asker::at(IpAddr::from([10, 0, 0, last]))
}

#[tokio::test]
async fn who_waits_behind_his_own_stands_in_nobody_elses_way() {
    let lines = Lines::new(BOUNDS);
    let crowd: Vec<Turn> = join_all((0..4).map(|_| lines.wait(at(1)))).await;
    let mut behind: Vec<_> = (0..20).map(|_| Box::pin(lines.wait(at(1)))).collect();
    for one in &mut behind {
        assert!(one.now_or_never().is_none(), "its address has its share");
    }
    let other = lines.wait(at(2)).now_or_never();
    assert!(other.is_some(), "another address has turns of its own");
    drop((crowd, other));
    let next = (&mut behind[0]).now_or_never();
    assert!(next.is_some(), "it is its turn");
    drop((behind, next));
    assert!(lock(&lines.of).is_empty(), "nobody is remembered");
}

#[tokio::test]
async fn this_machine_is_not_one_asker() {
    let lines = Lines::new(BOUNDS);
    let all: Vec<Turn> = join_all((0..7).map(|_| lines.wait(Asker::Here))).await;
    assert!(lines.wait(Asker::Here).now_or_never().is_none());
    drop(all);
}
