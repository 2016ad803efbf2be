//! A flaky program counts its work whatever it does afterwards.

use super::*;

#[test]
fn every_ending_is_spelled_as_it_is_read() {
    let endings = [
        Ending::Well,
        Ending::Failure("503"),
        Ending::FailureOnce("unavailable"),
        Ending::Drop,
        Ending::DropOnce,
        Ending::Late,
    ];
    for ending in endings {
        assert_eq!(Ending::parse(&ending.word()), Some(ending));
    }
    assert_eq!(Ending::parse("418"), None);
}

#[test]
fn once_is_over_after_the_first_time() {
    assert_eq!(
        Ending::FailureOnce("503").this_time(0),
        Ending::Failure("503")
    );
    assert_eq!(Ending::FailureOnce("503").this_time(1), Ending::Well);
    assert_eq!(Ending::DropOnce.this_time(2), Ending::Well);
    assert_eq!(Ending::Failure("503").this_time(7), Ending::Failure("503"));
}

#[test]
fn executions_are_counted_by_id() {
    let directory = tempfile::tempdir().unwrap();
    let file = Executions(directory.path().join("executions"));
    assert!(executions(&file.0).is_empty());
    assert_eq!(file.execute("a").unwrap(), 0);
    assert_eq!(file.execute("b").unwrap(), 0);
    assert_eq!(file.execute("a").unwrap(), 1);
    assert_eq!(
        executions(&file.0).into_iter().collect::<Vec<_>>(),
        [("a".into(), 2), ("b".into(), 1)]
    );
}
