//! What the bank accepts as an id, an amount, a currency and a text: the same words at every service's edge.

/// Allowed ids, in words.
pub const ID: &str = "1 to 64 characters of A-Z a-z 0-9 . _ -";

/// Allowed currencies, in words.
pub const CURRENCY: &str = "an ISO 4217 code of three capital letters";

/// Allowed amounts, in words.
pub const CENTS: &str = "a whole number of cents from 1 to 100000000000000";

/// Largest amount of one operation, in cents: 10^12 units, so that no sum the bank makes can overflow.
pub const CENTS_MAX: i64 = 100_000_000_000_000;

/// Characters of a reference or a name.
pub const TEXT_LENGTH_MAX: usize = 140;

/// Whether `text` is what [`ID`] says.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether `text` is what [`CURRENCY`] says.
#[must_use]
pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether `cents` is what [`CENTS`] says.
#[must_use]
pub fn is_cents(cents: i64) -> bool {
    (1..=CENTS_MAX).contains(&cents)
}

/// Whether `text` is short enough and printable.
#[must_use]
pub fn is_text(text: &str) -> bool {
    text.chars().count() <= TEXT_LENGTH_MAX && !text.chars().any(char::is_control)
}
