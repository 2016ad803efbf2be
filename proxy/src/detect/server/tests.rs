//! What a server's first bytes say.

use super::*;

#[test]
fn a_settings_frame_and_a_status_line_are_http() {
    for (first, answer) in [
        (&[0, 0, 6, 4, 0, 0, 0, 0, 0][..], Some(true)),
        (&[0, 0, 6, 4], None),
        (&[0], None),
        (b"HTTP/1.1 408", Some(true)),
        (b"HTT", None),
        // MySQL's greeting, SMTP's, a line of two letters.
        (&[0x4a, 0, 0, 0, 0x0a, 0x38, 0x2e, 0x30, 0x2e], Some(false)),
        (b"220 mail ", Some(false)),
        (b"OK", Some(false)),
        (b"", Some(false)),
    ] {
        let first = first.get(..9).unwrap_or(first);
        assert_eq!(says_http(first), answer, "{first:?}");
    }
}
