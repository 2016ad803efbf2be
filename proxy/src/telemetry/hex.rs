//! Hexadecimal digits to and from bytes. `write!` takes fifty times as long, and every request has three or four ids.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends the lowest `digits` digits of `value`, lower case, with leading zeros.
pub(super) fn write(out: &mut Vec<u8>, value: u128, digits: u32) {
    for position in (0..digits).rev() {
        let digit = usize::try_from(value >> (4 * position) & 0xf).unwrap_or(0);
        out.push(DIGITS.get(digit).copied().unwrap_or(b'0'));
    }
}

/// Reads 1–32 digits of either case and nothing else: no sign, which `from_str_radix` would take.
pub(super) fn read(text: &[u8]) -> Option<u128> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let mut value = 0;
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn written_as_the_standard_library_does(value: u128, digits in 1_u32..=32) {
            let mut out = Vec::new();
            write(&mut out, value, digits);
            let whole = format!("{value:032x}");
            let wanted = &whole[32 - usize::try_from(digits).unwrap()..];
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), wanted);
        }

        #[test]
        fn read_as_the_standard_library_does(text in "[0-9a-fA-Fg+ -]{0,34}") {
            let sane = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let wanted = sane.then(|| u128::from_str_radix(&text, 16).unwrap());
            prop_assert_eq!(read(text.as_bytes()), wanted);
        }
    }
}
