//! Who may read a key, and when a certificate is spoken of.

use super::*;

#[test]
fn a_key_is_its_owners_or_is_read_by_a_group_of_ours() {
    for (mode, own_group, exposed) in [
        (0o600, false, false),
        (0o400, false, false),
        // As `fsGroup` has it.
        (0o440, true, false),
        (0o640, true, false),
        (0o640, false, true),
        (0o660, true, true),
        (0o604, true, true),
        (0o602, true, true),
        (0o100_600, false, false),
    ] {
        assert_eq!(
            is_exposed(mode, || own_group),
            exposed,
            "{mode:o} {own_group}"
        );
    }
    assert!(is_group_of_ours(getegid().as_raw()));
}

#[test]
fn a_certificate_ends_soon_two_weeks_before_it_does() {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let day = Duration::from_secs(24 * 3600);
    for (now, validity) in [
        (end - 15 * day, Validity::Fine),
        (end - 13 * day, Validity::EndsSoon),
        (end, Validity::EndsSoon),
        (end + day, Validity::Expired),
    ] {
        assert_eq!(Validity::of(end, now), validity);
    }
}
