//! How long a token may be said to live.

use super::*;

#[test]
fn a_ttl_may_be_in_days() {
    let hour = Duration::from_secs(3600);
    for (text, ttl) in [
        ("1h", hour),
        ("1d", 24 * hour),
        ("90d", 90 * 24 * hour),
        ("1d12h", 36 * hour),
    ] {
        assert_eq!(parse_ttl(text), Ok(ttl), "{text}");
    }
    for text in [
        "", "d", "0d", "-1d", "+1d", "1D", "1d1d", "1w", "1 d", "1.5d",
    ] {
        assert!(parse_ttl(text).is_err(), "{text}");
    }
    // Too much is refused by the control plane, in hours that it can read.
    let long = usher_config::value::format_duration(parse_ttl("4294967295d").unwrap());
    assert!(parse_duration(&long).is_ok(), "{long}");
}
