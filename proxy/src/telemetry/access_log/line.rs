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
    text(out, ",\"direction\":\"", entry.direction.as_str());
    text(out, ",\"method\":\"", entry.method);
    text(out, ",\"authority\":\"", entry.authority);
    text(out, ",\"path\":\"", entry.path);
    text(out, ",\"protocol\":\"", entry.protocol);
    number(out, ",\"status\":", entry.status.into());
    if let Some(code) = entry.grpc_status {
        number(out, ",\"grpc_status\":", code.into());
    }
    write_flags(out, entry);
    let texts = [
        (",\"reason\":\"", entry.reason),
        (",\"detail\":\"", entry.detail),
        (",\"policy\":\"", entry.policy),
        (",\"route\":\"", entry.route),
        (",\"source\":\"", entry.source),
        (",\"source_service\":\"", entry.source_service),
        (",\"destination\":\"", entry.destination),
        (",\"destination_service\":\"", entry.destination_service),
        (",\"request_id\":\"", entry.request_id),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            text(out, key, value);
        }
    }
    if let Some(client) = entry.client {
        out.extend_from_slice(b",\"client\":\"");
        ip(out, client);
        out.push(b'"');
    }
    if let Some(upstream) = entry.upstream {
        out.extend_from_slice(b",\"upstream\":\"");
        address(out, upstream);
        out.push(b'"');
    }
    number(out, ",\"attempts\":", entry.attempts.into());
    number(out, ",\"request_bytes\":", entry.request_bytes);
    number(out, ",\"response_bytes\":", entry.response_bytes);
    millis(out, ",\"duration_ms\":", entry.duration);
    if let Some(duration) = entry.upstream_duration {
        millis(out, ",\"upstream_ms\":", duration);
    }
    if let Some(trace_id) = entry.trace_id {
        out.extend_from_slice(b",\"trace_id\":\"");
        out.extend_from_slice(&hex::digits_of_u128(trace_id));
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
}

/// RFC 3339 in UTC, to the millisecond.
fn write_time(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let time = OffsetDateTime::from(entry.time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, millis) = time.to_hms_milli();
    let [y1, y2, y3, y4] = padded(u64::try_from(year).unwrap_or(0));
    let ([m1, m2], [d1, d2]) = (padded(u64::from(month)), padded(day.into()));
    let ([h1, h2], [n1, n2]) = (padded(hour.into()), padded(minute.into()));
    let ([s1, s2], [f1, f2, f3]) = (padded(second.into()), padded(millis.into()));
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(&[
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.',
        f1, f2, f3, b'Z', b'"',
    ]);
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

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    digits(out, value);
}

fn millis(out: &mut Vec<u8>, key: &str, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(out, key, micros / 1000);
    out.push(b'.');
    out.extend_from_slice(&padded::<3>(micros % 1000));
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
        digits(out, octet.into());
    }
}

fn address(out: &mut Vec<u8>, address: SocketAddr) {
    if address.is_ipv6() {
        let _ = write!(out, "{address}");
        return;
    }
    ip(out, address.ip());
    out.push(b':');
    digits(out, address.port().into());
}

/// `write!` takes ten times as long, and a line has a dozen numbers.
fn digits(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The last `N` decimal digits, with leading zeros.
fn padded<const N: usize>(mut value: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
    digits
}

/// `key`: all that stands between the value before and this one, the opening quote included: one copy of constant length.
fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
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
