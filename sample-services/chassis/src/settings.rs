//! The environment, read once at start: every value typed, every mistake reported together.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::problem::{self, Mistake};
use crate::rules;

/// A value that can be written in an environment variable.
pub trait Setting: Sized {
    /// What is allowed, in words for the person who made the mistake.
    const ALLOWED: &'static str;

    /// `None` when `text` is not one.
    fn parse(text: &str) -> Option<Self>;
}

/// Some variables were missing or wrong.
#[derive(Debug, thiserror::Error)]
#[error("the environment is not usable: {}", problem::list(.mistakes))]
pub struct SettingsError {
    /// One per variable.
    pub mistakes: Vec<Mistake>,
}

/// Reads variables and collects what is wrong with them.
///
/// Readers return `None` after noting the mistake; the caller reads all and then gives up with
/// [`Environment::into_error`] if one is missing.
#[derive(Debug)]
pub struct Environment {
    variables: HashMap<String, String>,
    mistakes: Vec<Mistake>,
}

impl Environment {
    /// The variables of this process; those that are not UTF-8 count as absent.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_pairs(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// An environment of exactly these variables.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: pairs.into_iter().collect(),
            mistakes: Vec::new(),
        }
    }

    /// A variable that must be set.
    pub fn required<T: Setting>(&mut self, name: &str) -> Option<T> {
        if self.text(name).is_none() {
            self.mistakes
                .push(Mistake::new(name, "nothing", T::ALLOWED));
            return None;
        }
        self.optional(name).flatten()
    }

    /// A variable that may be absent; absent and empty give `default`.
    pub fn or<T: Setting>(&mut self, name: &str, default: T) -> Option<T> {
        match self.optional(name) {
            Some(None) => Some(default),
            Some(value) => value,
            None => None,
        }
    }

    /// A variable that may be absent: `Some(None)` when it is, `None` when it is wrong.
    pub fn optional<T: Setting>(&mut self, name: &str) -> Option<Option<T>> {
        let Some(text) = self.text(name) else {
            return Some(None);
        };
        let parsed = T::parse(text);
        if parsed.is_none() {
            let mistake = Mistake::new(name, text, T::ALLOWED);
            self.mistakes.push(mistake);
            return None;
        }
        Some(parsed)
    }

    /// Where to listen: `HOST` and `PORT`.
    pub fn listen(&mut self) -> Option<SocketAddr> {
        let host = self.or::<IpAddr>("HOST", Ipv4Addr::LOCALHOST.into());
        let port = self.required::<u16>("PORT");
        Some(SocketAddr::new(host?, port?))
    }

    /// Notes a mistake that the caller found.
    pub fn note(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// What was wrong.
    #[must_use]
    pub fn into_error(self) -> SettingsError {
        SettingsError {
            mistakes: self.mistakes,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }
}

/// Address of a peer, without a path: `http://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Authority);

impl BaseUrl {
    /// Host and port as written.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.0
    }

    /// The address of `path` (which begins with `/`) at this peer.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("http://{}{path}", self.0)
    }
}

impl Setting for BaseUrl {
    const ALLOWED: &'static str = "http://HOST or http://HOST:PORT";

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let plain = uri.scheme() == Some(&Scheme::HTTP)
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none();
        let authority = uri.authority()?;
        (plain && !authority.as_str().contains('@')).then(|| Self(authority.clone()))
    }
}

/// Where a service keeps its SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl(PathBuf);

impl DatabaseUrl {
    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Setting for DatabaseUrl {
    const ALLOWED: &'static str = "a file path, sqlite:PATH or sqlite://PATH";

    fn parse(text: &str) -> Option<Self> {
        let path = text.strip_prefix("sqlite:").unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        let foreign = path.contains("://") || path.contains('?') || path == ":memory:";
        (!path.is_empty() && !foreign).then(|| Self(path.into()))
    }
}

impl Setting for IpAddr {
    const ALLOWED: &'static str = "an IP address";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for u16 {
    const ALLOWED: &'static str = "a whole number from 0 to 65535";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for u32 {
    const ALLOWED: &'static str = "a whole number from 1 to 4294967295";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }
}

/// A positive amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cents(pub i64);

impl Setting for Cents {
    const ALLOWED: &'static str = rules::CENTS;

    fn parse(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .filter(|cents| rules::is_cents(*cents))
            .map(Self)
    }
}

impl Setting for Duration {
    const ALLOWED: &'static str = "a duration from 0 to 1h such as 2ms, 1.5s, 3m";

    fn parse(text: &str) -> Option<Self> {
        let split = text
            .find(|letter: char| letter.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let seconds_each = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" if number == "0" => 0.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let duration = Self::try_from_secs_f64(number * seconds_each).ok()?;
        (duration <= Self::from_secs(3600)).then_some(duration)
    }
}

impl Setting for PathBuf {
    const ALLOWED: &'static str = "a file path";

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

/// An identifier as [`rules::ID`] allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(pub String);

impl Setting for Id {
    const ALLOWED: &'static str = rules::ID;

    fn parse(text: &str) -> Option<Self> {
        rules::is_id(text).then(|| Self(text.to_owned()))
    }
}

/// A currency as [`rules::CURRENCY`] allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Currency(pub String);

impl Setting for Currency {
    const ALLOWED: &'static str = rules::CURRENCY;

    fn parse(text: &str) -> Option<Self> {
        rules::is_currency(text).then(|| Self(text.to_owned()))
    }
}
