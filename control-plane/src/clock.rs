//! Points in time as people and machines read them.

use std::time::SystemTime;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// RFC 3339 in UTC, to the second; empty for times that have no such form (before year 0, after 9999).
pub fn text(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    at.replace_nanosecond(0)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Now, as [`text`].
pub fn now_text() -> String {
    text(SystemTime::now())
}
