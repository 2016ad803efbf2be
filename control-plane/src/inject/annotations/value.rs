//! The texts of annotations → what they mean. An error is what is allowed instead.

use std::{net::IpAddr, str::FromStr, time::Duration};

use usher_config::value::{Name, Port, parse_duration};

use crate::inject::settings::Mode;

type Parsed<T> = Result<T, String>;

/// Which port of the application the mesh calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inject) enum ApplicationPort {
    /// This one.
    Port(Port),
    /// None: the workload only calls.
    None,
}

/// A quantity as Kubernetes spells it, and in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inject) struct Quantity {
    pub(in crate::inject) text: String,
    pub(in crate::inject) thousandths: u128,
}

pub(super) fn flag(text: &str) -> Parsed<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off, in quotes".to_owned()),
    }
}

pub(super) fn name(text: &str) -> Parsed<Name> {
    text.parse().map_err(allowed)
}

fn allowed(error: usher_config::value::InvalidValue) -> String {
    error.allowed.to_owned()
}

pub(super) fn application_port(text: &str) -> Parsed<ApplicationPort> {
    match text {
        "none" => Ok(ApplicationPort::None),
        _ => text
            .parse()
            .map(ApplicationPort::Port)
            .map_err(|_| "a port from 1 to 65535, or none".to_owned()),
    }
}

pub(super) fn mode(text: &str) -> Parsed<Mode> {
    match text {
        "transparent" => Ok(Mode::Transparent),
        "explicit" => Ok(Mode::Explicit),
        _ => Err("transparent or explicit".to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let duration = parse_duration(text).map_err(allowed)?;
    match duration.is_zero() {
        true => Err("a duration that is not zero, such as 20s".to_owned()),
        false => Ok(duration),
    }
}

/// As `usher-proxy intercept install` reads them.
pub(super) fn ports(text: &str) -> Parsed<String> {
    let invalid = || "all, none, or ports and ranges: 80,443,8000-8999".to_owned();
    if matches!(text, "all" | "none") {
        return Ok(text.to_owned());
    }
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let port = |text: &str| text.parse::<Port>().map(Port::get).map_err(|_| invalid());
        if port(first)? > port(last)? {
            return Err(invalid());
        }
    }
    Ok(text.replace(' ', ""))
}

/// Likewise.
pub(super) fn cidrs(text: &str) -> Parsed<String> {
    if matches!(text, "all" | "none") {
        return Ok(text.to_owned());
    }
    let is_block = |part: &str| {
        let (address, prefix) = part.split_once('/').unwrap_or((part, ""));
        let (bits, width) = match IpAddr::from_str(address) {
            Ok(IpAddr::V4(address)) => (u128::from(address.to_bits()) << 96, 32),
            Ok(IpAddr::V6(address)) => (address.to_bits(), 128),
            Err(_) => return false,
        };
        let prefix = match part.contains('/') {
            false => Some(width),
            true => prefix.parse::<u32>().ok().filter(|prefix| *prefix <= width),
        };
        // Nothing of the address is left behind the prefix.
        prefix.is_some_and(|prefix| bits.checked_shl(prefix).unwrap_or(0) == 0)
    };
    match text.split(',').map(str::trim).all(is_block) {
        true => Ok(text.replace(' ', "")),
        false => Err(
            "all, none, or addresses and blocks, first address first: 10.0.0.0/8,fd00::/8"
                .to_owned(),
        ),
    }
}

/// As `usher-proxy --tcp` reads them.
pub(super) fn forwards(text: &str) -> Parsed<String> {
    let is_forward = |part: &str| {
        let (local, target) = part.split_once('=')?;
        let local: std::net::SocketAddr = local.parse().ok()?;
        let (service, port) = target.rsplit_once(':')?;
        let (name, namespace) = match service.split_once('.') {
            Some((name, namespace)) => (name, Some(namespace)),
            None => (service, None),
        };
        let is_name = |text: &str| text.parse::<Name>().is_ok();
        let is_target =
            is_name(name) && namespace.is_none_or(is_name) && port.parse::<Port>().is_ok();
        (local.ip().is_loopback() && local.port() != 0 && is_target).then_some(())
    };
    match text.split(',').map(str::trim).all(|part| is_forward(part).is_some()) {
        true => Ok(text.replace(' ', "")),
        false => Err(
            "LOCAL=NAME.NAMESPACE:PORT on loopback, such as 127.0.0.1:5432=postgres.bank:5432; several with commas between"
                .to_owned(),
        ),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// As the sidecar's `USHER_LOG`.
pub(super) fn log_level(text: &str) -> Parsed<String> {
    let is_target = |target: &str| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte);
        !target.is_empty() && target.bytes().all(is_word)
    };
    let is_level = |level: &str| LEVELS.contains(&level);
    let is_part = |part: &str| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    };
    match text.split(',').all(is_part) {
        true => Ok(text.to_owned()),
        false => {
            Err("error, warn, info, debug, off, or target=level,... with one of them".to_owned())
        }
    }
}

pub(super) fn cpu(text: &str) -> Parsed<Quantity> {
    quantity(text, &[("m", 1), ("", 1_000)])
        .ok_or_else(|| "CPUs, more than none: 100m or 1.5".to_owned())
}

pub(super) fn memory(text: &str) -> Parsed<Quantity> {
    const UNITS: [(&str, u128); 9] = [
        ("Ki", 1_000 << 10),
        ("Mi", 1_000 << 20),
        ("Gi", 1_000 << 30),
        ("Ti", 1_000 << 40),
        ("k", 1_000_000),
        ("M", 1_000_000_000),
        ("G", 1_000_000_000_000),
        ("T", 1_000_000_000_000_000),
        ("", 1_000),
    ];
    // Less than this holds no program; most likely the unit was forgotten.
    const LEAST: u128 = 1_000 << 20;
    quantity(text, &UNITS)
        .filter(|quantity| quantity.thousandths >= LEAST)
        .ok_or_else(|| "bytes, 1Mi at least: 64Mi, 1Gi or 100M".to_owned())
}

/// `units`: endings and how many thousandths one of them is; the empty one last.
fn quantity(text: &str, units: &[(&str, u128)]) -> Option<Quantity> {
    let (number, unit) = units
        .iter()
        .find_map(|(ending, unit)| Some((text.strip_suffix(ending)?, *unit)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 12;
    if !digits(whole) || !digits(fraction) || whole.is_empty() || number.ends_with('.') {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let thousandths = whole * unit + part * unit / scale;
    (thousandths > 0).then(|| Quantity {
        text: text.to_owned(),
        thousandths,
    })
}
