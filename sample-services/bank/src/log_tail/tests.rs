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

#[test]
fn of_a_structured_line_level_message_and_error_are_told() {
    let flat =
        r#"{"timestamp":"t","level":"WARN","message":"no answer","error":"refused","target":"x"}"#;
    let nested =
        r#"{"timestamp":"t","level":"INFO","fields":{"message":"listening"},"target":"x"}"#;
    assert_eq!(most_telling(&[flat.into()], 2), ["WARN no answer: refused"]);
    assert_eq!(most_telling(&[nested.into()], 2), ["INFO listening"]);
}

#[test]
fn trouble_is_told_before_mere_information() {
    let line = |level: &str, message: &str| {
        serde_json::json!({ "timestamp": "t", "level": level, "message": message }).to_string()
    };
    let lines = [
        line("ERROR", "first"),
        line("WARN", "second"),
        "thread 'main' panicked".to_owned(),
        line("INFO", "last"),
    ];
    assert_eq!(
        most_telling(&lines, 2),
        ["WARN second", "thread 'main' panicked"]
    );
    assert_eq!(most_telling(&lines[3..], 2), ["INFO last"]);
}
