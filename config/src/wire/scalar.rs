//! Scalars between the model and protobuf. Durations travel as whole milliseconds.

use std::{str::FromStr, time::Duration};

use crate::value::{InvalidValue, Name, Percent, Port, ServiceName, Weight};

use super::{DecodeError, v1};

pub(super) type Decoded<T> = Result<T, DecodeError>;

/// Longest duration accepted from the wire: 30 days. Larger ones overflow timers.
const LONGEST_MS: u64 = 30 * 24 * 3600 * 1000;

pub(super) fn text<T: FromStr<Err = InvalidValue>>(field: &str, text: &str) -> Decoded<T> {
    text.parse()
        .map_err(|e: InvalidValue| DecodeError::at(field, e.found, e.allowed))
}

/// Empty is absent.
pub(super) fn optional<T: FromStr<Err = InvalidValue>>(
    field: &str,
    written: &str,
) -> Decoded<Option<T>> {
    (!written.is_empty())
        .then(|| text(field, written))
        .transpose()
}

pub(super) fn port(field: &str, number: u32) -> Decoded<Port> {
    Port::try_from(number).map_err(|e| DecodeError::at(field, e.found, e.allowed))
}

pub(super) fn ports(field: &str, numbers: &[u32]) -> Decoded<Vec<Port>> {
    numbers.iter().map(|number| port(field, *number)).collect()
}

pub(super) fn percent(field: &str, number: u32) -> Decoded<Percent> {
    Percent::try_from(number).map_err(|e| DecodeError::at(field, e.found, e.allowed))
}

pub(super) fn weight(field: &str, number: u32) -> Decoded<Weight> {
    Weight::try_from(number).map_err(|e| DecodeError::at(field, e.found, e.allowed))
}

pub(super) fn service_name(namespace: &str, name: &str) -> Decoded<ServiceName> {
    Ok(ServiceName {
        namespace: text::<Name>("namespace", namespace)?,
        name: text::<Name>("name", name)?,
    })
}

pub(super) fn millis(field: &str, millis: u64) -> Decoded<Duration> {
    if millis > LONGEST_MS {
        return Err(DecodeError::at(
            field,
            millis,
            "at most 30 days in milliseconds",
        ));
    }
    Ok(Duration::from_millis(millis))
}

/// A duration that is a period or a bound: zero would mean "never" or "spin", so it is refused.
pub(super) fn positive_millis(field: &str, number: u64) -> Decoded<Duration> {
    if number == 0 {
        return Err(DecodeError::at(field, number, "at least 1 ms"));
    }
    millis(field, number)
}

/// 0 is absent.
pub(super) fn optional_millis(field: &str, number: u64) -> Decoded<Option<Duration>> {
    Ok(if number == 0 {
        None
    } else {
        Some(millis(field, number)?)
    })
}

/// Rounds up to a millisecond: a bound that was written never becomes 0, which means "none".
pub(super) fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000))
        .unwrap_or(LONGEST_MS)
        .min(LONGEST_MS)
}

pub(super) fn to_optional_millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |duration| to_millis(duration).max(1))
}

/// A sub-message that must be there.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Decoded<T> {
    value.ok_or_else(|| DecodeError::at(field, "nothing", "a value"))
}

pub(super) fn protocol(field: &str, number: i32) -> Decoded<crate::model::Protocol> {
    use crate::model::Protocol as P;
    match v1::Protocol::try_from(number) {
        Ok(v1::Protocol::Unspecified) => Ok(P::Detect),
        Ok(v1::Protocol::Http1) => Ok(P::Http1),
        Ok(v1::Protocol::Http2) => Ok(P::Http2),
        Ok(v1::Protocol::Grpc) => Ok(P::Grpc),
        Ok(v1::Protocol::Tcp) => Ok(P::Tcp),
        Err(_) => Err(DecodeError::at(
            field,
            number,
            "a protocol of this version (0-4)",
        )),
    }
}

pub(super) fn to_protocol(protocol: crate::model::Protocol) -> i32 {
    use crate::model::Protocol as P;
    (match protocol {
        P::Detect => v1::Protocol::Unspecified,
        P::Http1 => v1::Protocol::Http1,
        P::Http2 => v1::Protocol::Http2,
        P::Grpc => v1::Protocol::Grpc,
        P::Tcp => v1::Protocol::Tcp,
    }) as i32
}

/// Decodes every element of a list, naming the index of the one that fails.
pub(super) fn list<T, U>(
    field: &str,
    items: Vec<T>,
    decode: impl Fn(T) -> Decoded<U>,
) -> Decoded<Vec<U>> {
    let decode = |(index, item)| decode(item).map_err(|e| e.under_index(field, index));
    items.into_iter().enumerate().map(decode).collect()
}
