//! Asking a JSON value what it has, whatever it is. Pure, total: what is not as it should be is not there.

use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Labels of one object; the API server allows as many as fit into 256 KiB.
const LABELS_MAX: usize = 64;
/// Of a label's key with its prefix, and of a value.
const KEY_MAX: usize = 317;
const VALUE_MAX: usize = 63;

/// The text at a JSON pointer.
pub(super) fn text<'v>(value: &'v Value, way: &str) -> Option<&'v str> {
    value.pointer(way)?.as_str()
}

/// The list at a JSON pointer; nothing is an empty one.
pub(super) fn list<'v>(value: &'v Value, way: &str) -> &'v [Value] {
    let list = value.pointer(way).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// Whether something is written there.
pub(super) fn is_written(value: &Value, way: &str) -> bool {
    value.pointer(way).is_some_and(|found| !found.is_null())
}

/// The texts of a mapping that could be labels.
pub(super) fn labels(value: &Value, way: &str) -> BTreeMap<String, String> {
    let entries = value.pointer(way).and_then(Value::as_object);
    let entries = entries.into_iter().flatten();
    let labels = entries.filter_map(|(key, value)| Some((key, value.as_str()?)));
    let labels = labels.filter(|(key, value)| {
        let fits = (1..=KEY_MAX).contains(&key.len()) && value.len() <= VALUE_MAX;
        fits && is_label(key.rsplit('/').next().unwrap_or_default(), 1) && is_label(value, 0)
    });
    labels
        .take(LABELS_MAX)
        .map(|(key, value)| (key.clone(), value.to_owned()))
        .collect()
}

fn is_label(text: &str, least: usize) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (least..=VALUE_MAX).contains(&text.len()) && text.bytes().all(is_part)
}

/// When the API server made it.
pub(super) fn made(value: &Value) -> Option<SystemTime> {
    let at = text(value, "/metadata/creationTimestamp")?;
    Some(OffsetDateTime::parse(at, &Rfc3339).ok()?.into())
}

/// The address of one host, neither everybody's nor nobody's.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let is_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some()
        }
    };
    let is_one = !is_local && !address.is_unspecified() && !address.is_multicast();
    is_one.then_some(address)
}
