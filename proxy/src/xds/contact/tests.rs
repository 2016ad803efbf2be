//! A silence is reported once, when it has become too long.

use super::*;

#[test]
fn a_long_silence_is_reported_once_and_again_after_contact() {
    let begun = Instant::now();
    let mut contact = Contact::new(begun);
    assert_eq!(contact.overdue(begun + SILENT_TOO_LONG / 2), None);
    assert_eq!(
        contact.overdue(begun + SILENT_TOO_LONG),
        Some(SILENT_TOO_LONG)
    );
    assert_eq!(contact.overdue(begun + 2 * SILENT_TOO_LONG), None);
    contact.heard(begun + 2 * SILENT_TOO_LONG);
    assert_eq!(contact.overdue(begun + 2 * SILENT_TOO_LONG), None);
    let again = contact.overdue(begun + 3 * SILENT_TOO_LONG);
    assert_eq!(again, Some(SILENT_TOO_LONG));
}
