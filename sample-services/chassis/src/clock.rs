//! Wall-clock time as the services store and print it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn now_millis() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, such as `2026-11-22T12:00:00.5Z`; the epoch when out of range.
#[must_use]
pub fn rfc3339(millis: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .ok()
        .and_then(|instant| instant.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// The UTC day, `YYYY-MM-DD`, of an RFC 3339 time; `None` when `text` is not one.
#[must_use]
pub fn day_of(text: &str) -> Option<String> {
    let instant = OffsetDateTime::parse(text, &Rfc3339)
        .ok()?
        .to_offset(time::UtcOffset::UTC);
    Some(instant.date().to_string())
}
