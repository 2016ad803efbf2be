//! Only the end is read, and a missing log is no error.

use super::*;

#[test]
fn the_last_lines_come_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
    assert_eq!(last_lines(&path, 2), ["two", "three"]);
    assert_eq!(last_lines(&path, 9), ["one", "two", "three"]);
}

#[test]
fn a_log_that_is_not_there_says_nothing() {
    assert!(last_lines(Path::new("/nonexistent/log"), 5).is_empty());
}
