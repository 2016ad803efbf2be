//! Sets of ports and of addresses, as people write them and as nft takes them.
//!
//! In one form whatever the spelling: sorted, without overlaps, which nft refuses in a set.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use usher_config::value::{InvalidValue, Port};

/// Ports, `22,8000-8999`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortSet {
    /// `all`.
    All,
    /// First and last of each range, ascending, never touching. Empty: `none`.
    Ranges(Vec<(u16, u16)>),
}

impl PortSet {
    /// No port.
    pub const NONE: Self = Self::Ranges(Vec::new());

    /// Whether the port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Ranges(ranges) => ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&port)),
        }
    }

    /// These ports and one more.
    #[must_use]
    pub fn with(self, port: u16) -> Self {
        match self {
            Self::All => Self::All,
            Self::Ranges(mut ranges) => {
                ranges.push((port, port));
                Self::Ranges(merge(ranges))
            }
        }
    }

    /// As nft's set; `None`: there is nothing in it, or everything.
    pub(super) fn elements(&self) -> Option<String> {
        let Self::Ranges(ranges) = self else {
            return None;
        };
        joined(ranges.iter().map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        }))
    }
}

impl FromStr for PortSet {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue::new(text, "all, none, or ports and ranges: 22,8000-8999");
        let port = |text: &str| text.parse::<Port>().map(Port::get).map_err(|_| invalid());
        match text {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        let range = |part: &str| match part.split_once('-') {
            None => port(part).map(|port| (port, port)),
            Some((first, last)) => match (port(first)?, port(last)?) {
                (first, last) if first <= last => Ok((first, last)),
                _ => Err(invalid()),
            },
        };
        let ranges: Result<Vec<_>, _> = text.split(',').map(|part| range(part.trim())).collect();
        Ok(Self::Ranges(merge(ranges?)))
    }
}

fn merge(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Addresses, `10.0.0.0/8,fd00::/8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressSet {
    /// `all`.
    All,
    /// By family, ascending, none within another. Both empty: `none`.
    Blocks {
        /// First address and length of the prefix.
        ipv4: Vec<(Ipv4Addr, u8)>,
        /// First address and length of the prefix.
        ipv6: Vec<(Ipv6Addr, u8)>,
    },
}

impl AddressSet {
    /// No address.
    pub const NONE: Self = Self::Blocks {
        ipv4: Vec::new(),
        ipv6: Vec::new(),
    };

    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let Self::Blocks { ipv4, ipv6 } = self else {
            return true;
        };
        match address {
            IpAddr::V4(address) => ipv4
                .iter()
                .any(|(first, prefix)| network4(address, *prefix) == *first),
            IpAddr::V6(address) => ipv6
                .iter()
                .any(|(first, prefix)| network6(address, *prefix) == *first),
        }
    }

    /// As nft's sets, IPv4 and IPv6; `None`: there is nothing in it, or everything.
    pub(super) fn elements(&self) -> (Option<String>, Option<String>) {
        let Self::Blocks { ipv4, ipv6 } = self else {
            return (None, None);
        };
        (
            joined(
                ipv4.iter()
                    .map(|(first, prefix)| format!("{first}/{prefix}")),
            ),
            joined(
                ipv6.iter()
                    .map(|(first, prefix)| format!("{first}/{prefix}")),
            ),
        )
    }
}

impl FromStr for AddressSet {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || {
            InvalidValue::new(
                text,
                "all, none, or addresses and blocks, first address first: 10.0.0.0/8,fd00::/8",
            )
        };
        match text {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim) {
            let (address, prefix) = match part.split_once('/') {
                None => (part, None),
                Some((address, prefix)) => (address, Some(prefix)),
            };
            let prefix = prefix
                .map(str::parse::<u8>)
                .transpose()
                .map_err(|_| invalid())?;
            match address.parse().map_err(|_| invalid())? {
                IpAddr::V4(first) => {
                    let prefix = prefix.unwrap_or(32);
                    if prefix > 32 || network4(first, prefix) != first {
                        return Err(invalid());
                    }
                    ipv4.push((first, prefix));
                }
                IpAddr::V6(first) => {
                    let prefix = prefix.unwrap_or(128);
                    if prefix > 128 || network6(first, prefix) != first {
                        return Err(invalid());
                    }
                    ipv6.push((first, prefix));
                }
            }
        }
        // The widest of those that begin alike comes first, and swallows all that lie in it.
        ipv4.sort_unstable();
        ipv4.dedup_by(|next, kept| network4(next.0, kept.1) == kept.0);
        ipv6.sort_unstable();
        ipv6.dedup_by(|next, kept| network6(next.0, kept.1) == kept.0);
        Ok(Self::Blocks { ipv4, ipv6 })
    }
}

fn network4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & !host)
}

fn network6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & !host)
}

fn joined(elements: impl Iterator<Item = String>) -> Option<String> {
    let mut text = String::new();
    for element in elements {
        let separator = if text.is_empty() { "{ " } else { ", " };
        let _ = write!(text, "{separator}{element}");
    }
    (!text.is_empty()).then(|| text + " }")
}

#[cfg(test)]
mod tests;
