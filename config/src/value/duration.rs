//! Durations as Gateway API writes them (GEP-2257): `^([0-9]{1,5}(h|m|s|ms)){1,4}$`.

use std::{fmt::Write as _, time::Duration};

use super::InvalidValue;

const ALLOWED: &str =
    "a duration such as 10s, 1m30s or 250ms: 1-4 parts, each 1-5 digits and h, m, s or ms";

/// Reads a GEP-2257 duration.
///
/// # Errors
/// Anything that does not match the pattern above: signs, fractions, other units, spaces.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    let invalid = || InvalidValue::new(text, ALLOWED);
    let (mut rest, mut total, mut parts) = (text, Duration::ZERO, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        parts += 1;
        if digits == 0 || digits > 5 || parts > 4 {
            return Err(invalid());
        }
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let (part, tail) = if let Some(tail) = tail.strip_prefix("ms") {
            (Duration::from_millis(number), tail)
        } else if let Some(tail) = tail.strip_prefix('h') {
            (Duration::from_secs(number * 3600), tail)
        } else if let Some(tail) = tail.strip_prefix('m') {
            (Duration::from_secs(number * 60), tail)
        } else if let Some(tail) = tail.strip_prefix('s') {
            (Duration::from_secs(number), tail)
        } else {
            return Err(invalid());
        };
        total += part;
        rest = tail;
    }
    if parts == 0 {
        Err(invalid())
    } else {
        Ok(total)
    }
}

/// Writes a duration in the form [`parse_duration`] reads, to the millisecond; `0s` for nothing.
pub fn format_duration(duration: Duration) -> String {
    let mut text = String::new();
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (millis.into(), "ms"),
    ];
    for (number, unit) in parts {
        if number > 0 {
            let _ = write!(text, "{number}{unit}");
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}
