//! Faults hit the share that was asked for, and end on time.

use http::StatusCode;
use proptest::prelude::*;

use super::*;

const NOON: SystemTime = SystemTime::UNIX_EPOCH;

fn fault(delay: u8, abort: u8) -> Fault {
    Fault {
        name: "bank/rehearsal".into(),
        expires_at: NOON + Duration::from_secs(60),
        headers: Vec::new(),
        delay: Some((Percent::clamped(delay), Duration::from_secs(2))),
        abort: Some((
            Percent::clamped(abort),
            FaultAnswer::Status(StatusCode::SERVICE_UNAVAILABLE),
        )),
    }
}

fn hits(fault: &Fault) -> (usize, usize, usize) {
    let all: Vec<Injected> = (0..10_000)
        .map(|random| decide(fault, NOON, random))
        .collect();
    let count = |hit: fn(&Injected) -> bool| all.iter().filter(|injected| hit(injected)).count();
    (
        count(|injected| injected.delay.is_some()),
        count(|injected| injected.abort.is_some()),
        count(|injected| injected.delay.is_some() && injected.abort.is_some()),
    )
}

#[test]
fn each_fault_hits_its_own_share() {
    let (delayed, aborted, both) = hits(&fault(20, 50));
    assert!((1_850..2_150).contains(&delayed), "{delayed}");
    assert!((4_800..5_200).contains(&aborted), "{aborted}");
    assert!((850..1_150).contains(&both), "{both}");
    assert_eq!(hits(&fault(100, 100)), (10_000, 10_000, 10_000));
}

#[test]
fn an_expired_fault_has_no_effect() {
    let fault = fault(100, 100);
    let at = |seconds| decide(&fault, NOON + Duration::from_secs(seconds), 7);
    assert!(at(59).abort.is_some());
    assert_eq!(at(60), Injected::default());
    assert_eq!(at(1_000_000), Injected::default());
}

proptest! {
    #[test]
    fn nothing_expired_ever_acts(after in 60u64..1 << 40, random in any::<u64>()) {
        let now = NOON + Duration::from_secs(after);
        prop_assert_eq!(decide(&fault(100, 100), now, random), Injected::default());
    }
}
