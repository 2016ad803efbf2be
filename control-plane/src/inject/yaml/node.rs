//! A YAML value in which scalars keep their spelling, and everything that was read knows its place.

use usher_config::parse::Position;

/// A value.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Where it stands; `None`: it was made, not read, or stands somewhere else too (an alias).
    pub place: Option<Place>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, a number, a truth value or nothing.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in the order in which they are written. Equal whatever the order.
    Mapping(Mapping),
}

/// Keys and values, in order.
#[derive(Debug, Clone, Default)]
pub struct Mapping(pub Vec<Entry>);

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: Scalar,
    /// Where the key stands.
    pub place: Option<Place>,
    /// The value.
    pub value: Node,
}

/// One word, with its spelling.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// Without quotes and escapes.
    pub text: String,
    /// Written without quotes, so it may be something else than text.
    pub plain: bool,
}

/// A stretch of a document's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// First byte.
    pub start: usize,
    /// One behind the last byte.
    pub end: usize,
    /// From 1, in the document.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// Written in braces or brackets, or inside of some.
    pub flow: bool,
}

// Two values are equal if they say the same, wherever they stand.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl Eq for Node {}

impl PartialEq for Mapping {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .all(|entry| other.value(&entry.key.text) == Some(&entry.value))
    }
}

impl Eq for Mapping {}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.is_text() == other.is_text()
    }
}

impl Eq for Scalar {}

impl Mapping {
    fn value(&self, key: &str) -> Option<&Node> {
        let entry = self.0.iter().find(|entry| entry.key.text == key);
        entry.map(|entry| &entry.value)
    }
}

impl Scalar {
    /// Whether every reader of YAML, of 1.1 or 1.2, takes it for text.
    pub fn is_text(&self) -> bool {
        !self.plain || is_text(&self.text)
    }
}

/// Of what is written without quotes. `0644` is text in YAML 1.2 and a number for kubectl, `1:30` one in YAML 1.1 and none
/// for kubectl: what anybody takes for something else is no text.
fn is_text(plain: &str) -> bool {
    const WORDS: [&str; 12] = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", "<<", "=",
    ];
    let is_word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(plain));
    !plain.is_empty() && !is_word && !like_a_number(plain) && !like_a_date(plain)
}

fn like_a_number(plain: &str) -> bool {
    let plain = plain.replace('_', "");
    let number = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let of_base = ["0x", "0X", "0o", "0b"]
        .iter()
        .find_map(|base| number.strip_prefix(base));
    let is_float = number.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && number.parse::<f64>().is_ok();
    let digits = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let is_of_sixty = number.contains(':') && number.split(':').all(digits);
    let is_none = [".inf", ".nan"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(number));
    of_base.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || is_float
        || is_of_sixty
        || is_none
}

/// `2026-11-29`, with or without a time.
fn like_a_date(plain: &str) -> bool {
    let mut parts = plain.splitn(3, '-');
    let is_number = |part: Option<&str>, length| {
        part.is_some_and(|part| {
            part.len() <= length && part.starts_with(|first: char| first.is_ascii_digit())
        })
    };
    is_number(parts.next(), 4) && is_number(parts.next(), 2) && is_number(parts.next(), usize::MAX)
}

fn whole_number(text: &str) -> Option<i64> {
    let (minus, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let starts = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let in_base = |prefix: &str, base| {
        let digits = digits.strip_prefix(prefix)?;
        digits
            .starts_with(|first: char| first.is_ascii_hexdigit())
            .then(|| i64::from_str_radix(digits, base).ok())?
    };
    let octal = || in_base("0o", 8).or_else(|| in_base("0", 8));
    let number = in_base("0x", 16)
        .or_else(|| in_base("0b", 2))
        .or_else(octal)
        .or_else(|| starts.then(|| digits.parse().ok())?)
        .or_else(|| starts.then(|| rounded(digits))?);
    number.map(|number| if minus { -number } else { number })
}

/// `1.337e3` is a whole number, too.
fn rounded(digits: &str) -> Option<i64> {
    let number: f64 = digits.parse().ok()?;
    let whole = format!("{number:.0}").parse().ok()?;
    (number.fract() == 0.0).then_some(whole)
}

/// Text, whatever it looks like.
pub(in crate::inject) fn text(text: impl Into<String>) -> Node {
    made(Content::Scalar(Scalar {
        text: text.into(),
        plain: false,
    }))
}

/// A number or a truth value.
pub(in crate::inject) fn word(word: impl ToString) -> Node {
    made(Content::Scalar(Scalar {
        text: word.to_string(),
        plain: true,
    }))
}

/// A list.
pub(in crate::inject) fn list(items: impl IntoIterator<Item = Node>) -> Node {
    made(Content::Sequence(items.into_iter().collect()))
}

/// A mapping.
pub(in crate::inject) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
    let entries = entries.into_iter().map(|(key, value)| entry(key, value));
    made(Content::Mapping(Mapping(entries.collect())))
}

fn made(content: Content) -> Node {
    Node {
        content,
        place: None,
    }
}

fn entry(key: &str, value: Node) -> Entry {
    Entry {
        key: Scalar {
            text: key.to_owned(),
            plain: false,
        },
        place: None,
        value,
    }
}

impl Node {
    /// The value of a key; `None` where there is no such key, or nothing is written.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Mapping(mapping) => mapping.value(key).filter(|value| !value.is_nothing()),
            Content::Scalar(_) | Content::Sequence(_) => None,
        }
    }

    /// The value under several keys, one in the other.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// To change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let entry = self.entries_mut()?.iter_mut().find(|e| e.key.text == key)?;
        Some(&mut entry.value)
    }

    /// The value of a key, which is made where it is missing or nothing is written.
    pub(in crate::inject) fn or_insert(
        &mut self,
        key: &str,
        value: impl FnOnce() -> Self,
    ) -> Option<&mut Self> {
        if self.get(key).is_none() {
            self.put(key, value());
        }
        self.get_mut(key)
    }

    /// Sets a key, which is the last one if it is new.
    pub(in crate::inject) fn put(&mut self, key: &str, value: Self) {
        let Some(entries) = self.entries_mut() else {
            return;
        };
        match entries.iter_mut().find(|entry| entry.key.text == key) {
            Some(entry) => entry.value = value,
            None => entries.push(entry(key, value)),
        }
    }

    /// Takes a key out.
    pub(in crate::inject) fn take(&mut self, key: &str) -> Option<Self> {
        let entries = self.entries_mut()?;
        let at = entries.iter().position(|entry| entry.key.text == key)?;
        Some(entries.remove(at).value)
    }

    /// Sets another key in the place of one.
    pub(in crate::inject) fn replace(&mut self, old: &str, key: &str, value: Self) {
        let found = self
            .entries_mut()
            .and_then(|entries| entries.iter_mut().find(|entry| entry.key.text == old));
        if let Some(found) = found {
            *found = entry(key, value);
        }
    }

    /// Of a mapping.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(mapping) => &mapping.0,
            Content::Scalar(_) | Content::Sequence(_) => &[],
        }
    }

    fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.content {
            Content::Mapping(mapping) => Some(&mut mapping.0),
            Content::Scalar(_) | Content::Sequence(_) => None,
        }
    }

    /// Of a list.
    pub fn items(&self) -> &[Self] {
        match &self.content {
            Content::Sequence(items) => items,
            Content::Scalar(_) | Content::Mapping(_) => &[],
        }
    }

    /// To change them.
    pub(in crate::inject) fn items_mut(&mut self) -> Option<&mut Vec<Self>> {
        match &mut self.content {
            Content::Sequence(items) => Some(items),
            Content::Scalar(_) | Content::Mapping(_) => None,
        }
    }

    /// Of a scalar, as it is written.
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    /// A scalar that is text for every reader.
    pub fn as_text(&self) -> Option<&str> {
        let scalar = self.scalar().filter(|scalar| scalar.is_text());
        scalar.map(|scalar| scalar.text.as_str())
    }

    /// A scalar.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::Sequence(_) | Content::Mapping(_) => None,
        }
    }

    /// A whole number without quotes, in every spelling that kubectl takes for one: what is compared with a number
    /// must not get past by being spelled otherwise.
    pub fn number(&self) -> Option<i64> {
        let scalar = self.scalar().filter(|scalar| scalar.plain)?;
        whole_number(&scalar.text.replace('_', ""))
    }

    /// Whether it says yes, in every spelling that kubectl takes for that.
    pub fn is_true(&self) -> bool {
        let words = ["true", "yes", "on", "y"];
        let scalar = self.scalar().filter(|scalar| scalar.plain);
        scalar.is_some_and(|scalar| {
            words
                .iter()
                .any(|word| word.eq_ignore_ascii_case(&scalar.text))
        })
    }

    /// Whether nothing is written: `key:` alone.
    pub fn is_nothing(&self) -> bool {
        let words = ["", "~", "null", "Null", "NULL"];
        self.scalar()
            .is_some_and(|scalar| scalar.plain && words.contains(&scalar.text.as_str()))
    }

    /// Whether it is a mapping.
    pub fn is_mapping(&self) -> bool {
        matches!(self.content, Content::Mapping(_))
    }

    /// Whether it is a list.
    pub fn is_sequence(&self) -> bool {
        matches!(self.content, Content::Sequence(_))
    }

    /// Where it stands, as people count.
    pub fn position(&self) -> Option<Position> {
        let place = self.place?;
        Some(Position {
            line: place.line,
            column: place.column,
            length: u32::try_from(place.end.saturating_sub(place.start)).unwrap_or(u32::MAX),
        })
    }

    /// For messages: what stands there.
    pub(in crate::inject) fn described(&self) -> String {
        match &self.content {
            Content::Scalar(_) if self.is_nothing() => "nothing".to_owned(),
            Content::Scalar(scalar) => {
                let short: String = scalar.text.chars().take(80).collect();
                format!("`{}`", short.escape_debug())
            }
            Content::Sequence(items) if items.is_empty() => "an empty list".to_owned(),
            Content::Sequence(_) => "a list".to_owned(),
            Content::Mapping(_) => "a mapping".to_owned(),
        }
    }
}
