//! One request as one line of JSON, formatted by hand: no tree, no allocation, every text bounded.

use std::{io::Write as _, time::Duration};

use time::OffsetDateTime;

use super::Entry;

/// Longest text in a line, in bytes: a path of 60 KiB is an attack, not information.
const TEXT_MAX: usize = 1024;

/// Appends the line. Writing to a `Vec` cannot fail, so results are not looked at.
pub(super) fn write(out: &mut Vec<u8>, entry: &Entry<'_>) {
    write_time(out, entry);
    text(out, "direction", entry.direction.as_str());
    text(out, "method", entry.method);
    text(out, "authority", entry.authority);
    text(out, "path", entry.path);
    text(out, "protocol", entry.protocol);
    number(out, "status", entry.status.into());
    if let Some(code) = entry.grpc_status {
        number(out, "grpc_status", code.into());
    }
    write_flags(out, entry);
    let texts = [
        ("reason", entry.reason),
        ("policy", entry.policy),
        ("route", entry.route),
        ("source", entry.source),
        ("source_service", entry.source_service),
        ("destination", entry.destination),
        ("destination_service", entry.destination_service),
        ("request_id", entry.request_id),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            text(out, name, value);
        }
    }
    if let Some(upstream) = entry.upstream {
        let _ = write!(out, ",\"upstream\":\"{upstream}\"");
    }
    number(out, "attempts", entry.attempts.into());
    number(out, "request_bytes", entry.request_bytes);
    number(out, "response_bytes", entry.response_bytes);
    millis(out, "duration_ms", entry.duration);
    if let Some(duration) = entry.upstream_duration {
        millis(out, "upstream_ms", duration);
    }
    if let Some(trace_id) = entry.trace_id {
        let _ = write!(out, ",\"trace_id\":\"{trace_id:032x}\"");
    }
    out.extend_from_slice(b"}\n");
}

/// RFC 3339 in UTC, to the millisecond.
fn write_time(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let time = OffsetDateTime::from(entry.time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, millis) = time.to_hms_milli();
    let _ = write!(
        out,
        "{{\"time\":\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\""
    );
}

fn write_flags(out: &mut Vec<u8>, entry: &Entry<'_>) {
    for (position, flag) in entry.flags.iter().enumerate() {
        out.extend_from_slice(if position == 0 {
            b",\"flags\":\""
        } else {
            b","
        });
        out.extend_from_slice(flag.as_str().as_bytes());
    }
    if entry.flags.first().is_some() {
        out.push(b'"');
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    let _ = write!(out, ",\"{name}\":{value}");
}

fn millis(out: &mut Vec<u8>, name: &str, duration: Duration) {
    let micros = duration.as_micros();
    let _ = write!(out, ",\"{name}\":{}.{:03}", micros / 1000, micros % 1000);
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    let _ = write!(out, ",\"{name}\":\"");
    let end = (0..=TEXT_MAX.min(value.len()))
        .rev()
        .find(|end| value.is_char_boundary(*end));
    for byte in value.bytes().take(end.unwrap_or(0)) {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..0x20 | 0x7f => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
