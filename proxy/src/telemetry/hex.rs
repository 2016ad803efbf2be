//! Hexadecimal digits to and from bytes. `write!` takes fifty times as long, and every request has three or four ids.

/// The sixteen digits of a number, lower case.
pub(super) fn digits(value: u64) -> [u8; 16] {
    let [.., a, b, c, d] = value.to_be_bytes();
    let [e, f, g, h, ..] = value.to_be_bytes();
    let (high, low) = (eight([e, f, g, h]), eight([a, b, c, d]));
    let mut all = [0; 16];
    let (first, second) = all.split_at_mut(8);
    first.copy_from_slice(&high);
    second.copy_from_slice(&low);
    all
}

/// Eight digits at once, in a register: one nibble to each byte, then from 0–15 to its digit without a branch.
fn eight(bytes: [u8; 4]) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut nibbles = u64::from(u32::from_be_bytes(bytes));
    nibbles = (nibbles | nibbles << 16) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 6 more than a letter's value reaches 16.
    let letters = (nibbles + 6 * EACH) >> 4 & EACH;
    (nibbles + u64::from(b'0') * EACH + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// The thirty-two digits of a number, lower case.
pub(super) fn digits_of_u128(value: u128) -> [u8; 32] {
    let [high, low] = [value >> 64, value & u128::from(u64::MAX)]
        .map(|half| digits(u64::try_from(half).unwrap_or(0)));
    let mut all = [0; 32];
    let (first, second) = all.split_at_mut(16);
    first.copy_from_slice(&high);
    second.copy_from_slice(&low);
    all
}

/// What a byte is worth as a digit of either case; [`NONE`]: it is none.
const VALUES: [u8; 256] = values();
const NONE: u8 = 0x80;

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::as_conversions,
    reason = "evaluated by the compiler, which refuses what is out of bounds"
)]
const fn values() -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 16 {
        let digits = b"0123456789abcdef0123456789ABCDEF";
        values[digits[value] as usize] = value as u8;
        values[digits[value + 16] as usize] = value as u8;
        value += 1;
    }
    values
}

/// Reads 1–32 digits of either case and nothing else: no sign, which `from_str_radix` would take.
pub(super) fn read(text: &[u8]) -> Option<u128> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let (high, low) = text.split_at(text.len().saturating_sub(16));
    let (high, low) = (read_half(high)?, read_half(low)?);
    Some(u128::from(high) << 64 | u128::from(low))
}

fn read_half(text: &[u8]) -> Option<u64> {
    let (mut value, mut seen) = (0, 0);
    for byte in text {
        let digit = VALUES.get(usize::from(*byte)).copied().unwrap_or(NONE);
        seen |= digit;
        value = value << 4 | u64::from(digit);
    }
    (seen & NONE == 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn written_as_the_standard_library_does(value: u128) {
            let all = digits_of_u128(value);
            prop_assert_eq!(std::str::from_utf8(&all).unwrap(), format!("{value:032x}"));
            let half = u64::try_from(value >> 64).unwrap();
            let digits = digits(half);
            prop_assert_eq!(std::str::from_utf8(&digits).unwrap(), format!("{half:016x}"));
        }

        #[test]
        fn read_as_the_standard_library_does(text in "[0-9a-fA-Fg+ -]{0,34}") {
            let sane = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let wanted = sane.then(|| u128::from_str_radix(&text, 16).unwrap());
            prop_assert_eq!(read(text.as_bytes()), wanted);
        }
    }
}
