//! What strangers are told.

use super::*;

#[test]
fn the_words_of_others_are_one_short_line() {
    let said = words(&Unready::Refused(format!(
        "no\r\nHTTP/1.1 200\u{1b}[2J{}",
        "é".repeat(LINE_MAX)
    )));
    assert_eq!(said.chars().count(), LINE_MAX);
    assert!(!said.contains(char::is_control), "{said:?}");
    let own = Unready::Unserved(vec!["port 80".into(), "port 81".into()]);
    assert_eq!(words(&own), "port 80\n  port 81");
}
