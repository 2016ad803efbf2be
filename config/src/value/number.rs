//! Numbers with a range.

use std::{fmt, num::NonZeroU16, str::FromStr};

use super::InvalidValue;

/// A whole percentage, 0–100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// 100 %.
    pub const ALL: Self = Self(100);
    /// 0 %.
    pub const NONE: Self = Self(0);

    /// The number, 0–100.
    #[inline]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// For defaults known at compile time; more than 100 becomes 100.
    pub const fn clamped(percent: u8) -> Self {
        Self(if percent > 100 { 100 } else { percent })
    }
}

impl TryFrom<u32> for Percent {
    type Error = InvalidValue;
    fn try_from(number: u32) -> Result<Self, InvalidValue> {
        match u8::try_from(number) {
            Ok(percent) if percent <= 100 => Ok(Self(percent)),
            _ => Err(InvalidValue::new(
                &number.to_string(),
                "a whole number from 0 to 100",
            )),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// A TCP port, 1–65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    /// The number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u32> for Port {
    type Error = InvalidValue;
    fn try_from(number: u32) -> Result<Self, InvalidValue> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| InvalidValue::new(&number.to_string(), "a port from 1 to 65535"))
    }
}

impl FromStr for Port {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        text.parse::<NonZeroU16>()
            .map(Self)
            .map_err(|_| InvalidValue::new(text, "a port from 1 to 65535"))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A share among others, 0–1,000,000 (Gateway API's bound); 0 takes no traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    /// The weight of a backend that names none.
    pub const ONE: Self = Self(1);

    /// The weight of a backend that nobody is led to.
    pub const ZERO: Self = Self(0);

    /// The number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Weight {
    type Error = InvalidValue;
    fn try_from(number: u32) -> Result<Self, InvalidValue> {
        if number <= 1_000_000 {
            Ok(Self(number))
        } else {
            Err(InvalidValue::new(
                &number.to_string(),
                "a whole number from 0 to 1000000",
            ))
        }
    }
}
