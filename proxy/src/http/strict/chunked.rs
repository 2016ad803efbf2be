//! Where a chunked body ends (RFC 9112 §7.1), octet by octet, chunks' data in one step.
//!
//! Stricter than the grammar where the grammar's freedom is used by attackers only: no white space around
//! sizes, no quoted line ends in extensions, which are bounded over the whole body.

use super::head::{is_token, is_value};
use crate::http::headers::HEADER_BUFFER;

/// 15 digits are below 2⁶⁰: sums cannot overflow.
const DIGITS_MAX: u8 = 15;

/// All extensions and trailers of one body, in bytes: as a head.
const EXTRA_MAX: usize = HEADER_BUFFER;

/// A body under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunked {
    place: Place,
    extra: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Chunk {
        left: u64,
    },
    ChunkCr,
    ChunkLf,
    /// At the beginning of a line after the last chunk.
    Line,
    Name,
    Value,
    ValueLf,
    LastLf,
}

/// The body is not what RFC 9112 calls chunked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// How far a body went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// Over all bytes given.
    On,
    /// It ended after so many of them.
    Ended(usize),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            place: SIZE,
            extra: 0,
        }
    }

    /// Follows the body through `bytes`.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Malformed> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if let Place::Chunk { left } = self.place {
                let here = bytes.len() - at;
                let step = usize::try_from(left).map_or(here, |left| left.min(here));
                let left = left.saturating_sub(u64::try_from(step).unwrap_or(u64::MAX));
                self.place = if left == 0 {
                    Place::ChunkCr
                } else {
                    Place::Chunk { left }
                };
                at += step;
                continue;
            }
            at += 1;
            match self.step(byte) {
                Some(place) => self.place = place,
                None if self.place == Place::LastLf && byte == b'\n' => return Ok(Fed::Ended(at)),
                None => return Err(Malformed),
            }
            if self.extra > EXTRA_MAX {
                return Err(Malformed);
            }
        }
        Ok(Fed::On)
    }

    /// `None`: not allowed here, or the end.
    fn step(&mut self, byte: u8) -> Option<Place> {
        match (self.place, byte) {
            (Place::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                (digits < DIGITS_MAX).then(|| Place::Size {
                    digits: digits + 1,
                    size: size * 16 + u64::from(digit),
                })
            }
            (Place::Size { digits: 1.., size }, b';') => Some(Place::Extension { size }),
            (Place::Size { digits: 1.., size } | Place::Extension { size }, b'\r') => {
                Some(Place::SizeLf { size })
            }
            (Place::Extension { size }, _) if is_value(byte) => {
                self.extra += 1;
                Some(Place::Extension { size })
            }
            (Place::SizeLf { size: 0 }, b'\n') => Some(Place::Line),
            (Place::SizeLf { size }, b'\n') => Some(Place::Chunk { left: size }),
            (Place::ChunkCr, b'\r') => Some(Place::ChunkLf),
            (Place::ChunkLf, b'\n') => Some(SIZE),
            (Place::Line, b'\r') => Some(Place::LastLf),
            (Place::Line | Place::Name, _) if is_token(byte) => {
                self.extra += 1;
                Some(Place::Name)
            }
            (Place::Name, b':') => Some(Place::Value),
            (Place::Value, b'\r') => Some(Place::ValueLf),
            (Place::Value, _) if is_value(byte) => {
                self.extra += 1;
                Some(Place::Value)
            }
            (Place::ValueLf, b'\n') => Some(Place::Line),
            _ => None,
        }
    }
}

const SIZE: Place = Place::Size { digits: 0, size: 0 };
