//! One request as one line of JSON, formatted by hand: no tree, no allocation, every text bounded.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use time::OffsetDateTime;

use super::Entry;
use crate::telemetry::hex;

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
    if let Some(client) = entry.client {
        key(out, "client");
        out.push(b'"');
        ip(out, client);
        out.push(b'"');
    }
    if let Some(upstream) = entry.upstream {
        key(out, "upstream");
        out.push(b'"');
        address(out, upstream);
        out.push(b'"');
    }
    number(out, "attempts", entry.attempts.into());
    number(out, "request_bytes", entry.request_bytes);
    number(out, "response_bytes", entry.response_bytes);
    millis(out, "duration_ms", entry.duration);
    if let Some(duration) = entry.upstream_duration {
        millis(out, "upstream_ms", duration);
    }
    if let Some(trace_id) = entry.trace_id {
        key(out, "trace_id");
        out.push(b'"');
        hex::write(out, trace_id, 32);
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
}

/// RFC 3339 in UTC, to the millisecond.
fn write_time(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let time = OffsetDateTime::from(entry.time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, millis) = time.to_hms_milli();
    out.extend_from_slice(b"{\"time\":\"");
    digits(out, u64::try_from(year).unwrap_or(0), 4);
    let rest = [
        (b'-', u64::from(month), 2),
        (b'-', day.into(), 2),
        (b'T', hour.into(), 2),
        (b':', minute.into(), 2),
        (b':', second.into(), 2),
        (b'.', millis.into(), 3),
    ];
    for (separator, value, width) in rest {
        out.push(separator);
        digits(out, value, width);
    }
    out.extend_from_slice(b"Z\"");
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
    key(out, name);
    digits(out, value, 1);
}

fn millis(out: &mut Vec<u8>, name: &str, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    key(out, name);
    digits(out, micros / 1000, 1);
    out.push(b'.');
    digits(out, micros % 1000, 3);
}

/// IPv4 by hand: an address is in every line.
fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        let _ = write!(out, "{ip}");
        return;
    };
    for (position, octet) in ip.octets().into_iter().enumerate() {
        if position > 0 {
            out.push(b'.');
        }
        digits(out, octet.into(), 1);
    }
}

fn address(out: &mut Vec<u8>, address: SocketAddr) {
    if address.is_ipv6() {
        let _ = write!(out, "{address}");
        return;
    }
    ip(out, address.ip());
    out.push(b':');
    digits(out, address.port().into(), 1);
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Decimal, with leading zeros up to `width`. `write!` takes ten times as long, and a line has a dozen.
fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let begin = out.len();
    loop {
        out.push(b'0' + u8::try_from(value % 10).unwrap_or(0));
        value /= 10;
        if value == 0 && out.len() - begin >= width {
            break;
        }
    }
    if let Some(written) = out.get_mut(begin..) {
        written.reverse();
    }
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.push(b'"');
    let value = value
        .get(..value.floor_char_boundary(TEXT_MAX))
        .unwrap_or_default();
    // Without a way out of the loop it is a few instructions for sixteen bytes at once.
    let escaped = value.bytes().fold(false, |escaped, byte| {
        escaped | (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)
    });
    if !escaped {
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
        return;
    }
    for byte in value.bytes() {
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
