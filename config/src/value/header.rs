//! Header values as configuration writes them.

use std::str::FromStr;

use http::HeaderValue;

use super::InvalidValue;

/// 1 to 4096 printable ASCII characters, none of them a space at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(HeaderValue);

impl HeaderText {
    /// As it travels.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl FromStr for HeaderText {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let allowed =
            "1 to 4096 printable ASCII characters, without spaces at their beginning or end";
        let sane = (1..=4096).contains(&text.len())
            && text.trim() == text
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        match HeaderValue::from_str(text) {
            Ok(value) if sane => Ok(Self(value)),
            _ => Err(InvalidValue::new(text, allowed)),
        }
    }
}
