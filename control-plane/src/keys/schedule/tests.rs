//! Sets are fetched when they are due, and not more often because an issuer is down.

use super::*;

fn uri(text: &str) -> JwksUri {
    text.parse().expect("valid")
}

fn wanted(seconds: u64) -> BTreeMap<JwksUri, Duration> {
    BTreeMap::from([(uri("https://a.test/keys"), Duration::from_secs(seconds))])
}

#[test]
fn a_new_set_is_due_at_once_and_then_after_its_interval() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    schedule.follow(&wanted(300), now);
    let taken = schedule.take_due(now);
    assert_eq!(taken.len(), 1);
    assert_eq!(
        schedule.take_due(now + Duration::from_secs(900)),
        [],
        "under way"
    );
    schedule.fetched(&taken[0], now);
    assert_eq!(schedule.next(), Some(now + Duration::from_secs(300)));
    schedule.follow(&wanted(10), now);
    assert_eq!(schedule.next(), Some(now + Duration::from_secs(10)));
    schedule.follow(&BTreeMap::new(), now);
    assert_eq!(schedule.next(), None);
}

#[test]
fn pauses_grow_and_stay_within_the_interval() {
    let (mut schedule, mut now) = (Schedule::default(), Instant::now());
    schedule.follow(&wanted(45), now);
    let uri = uri("https://a.test/keys");
    for (number, seconds) in [1, 2, 4, 8, 16, 32, 45, 45].into_iter().enumerate() {
        assert_eq!(schedule.take_due(now).len(), 1);
        assert_eq!(schedule.failed(&uri, now, 1.0), number == 0);
        let next = schedule.next().expect("again");
        assert_eq!(next - now, Duration::from_secs(seconds));
        now = next;
    }
    schedule.take_due(now);
    schedule.fetched(&uri, now);
    schedule.take_due(now + Duration::from_secs(45));
    assert!(schedule.failed(&uri, now, 0.0), "the first after a success");
}
