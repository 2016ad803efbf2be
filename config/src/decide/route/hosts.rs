//! Host name → whatever is kept for it, the most precise first: the name itself, then ever wider wildcards, then any.
//!
//! That is Gateway API's precedence of host names (characters that match, whole names before wildcards), found with one
//! look-up for each label of the host.

use std::collections::HashMap;

use crate::value::Hostname;

/// See the module.
#[derive(Debug)]
pub struct Hosts<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows the `*`, its dot included.
    wildcards: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            any: None,
        }
    }
}

impl<T> Hosts<T> {
    /// What is kept for exactly this name; made if there is nothing. `None`: for any host.
    pub fn entry(&mut self, hostname: Option<&Hostname>, make: impl FnOnce() -> T) -> &mut T {
        let Some(hostname) = hostname else {
            return self.any.get_or_insert_with(make);
        };
        let (map, key) = match hostname.as_str().strip_prefix('*') {
            Some(suffix) => (&mut self.wildcards, suffix),
            None => (&mut self.exact, hostname.as_str()),
        };
        map.entry(key.into()).or_insert_with(make)
    }

    /// All that holds for a host (lower case, without a port), the most precise first.
    pub fn matching<'t>(&'t self, host: &str) -> impl Iterator<Item = &'t T> {
        // A wildcard stands for at least one character: the host's own beginning is no suffix.
        let dots = host.bytes().enumerate().skip(1);
        let suffixes = dots.filter(|(_, byte)| *byte == b'.');
        let wider = suffixes.filter_map(|(at, _)| self.wildcards.get(host.get(at..)?));
        let exact = self.exact.get(host).into_iter();
        exact.chain(wider).chain(&self.any)
    }

    /// The same names with what `make` makes of what is kept for them.
    pub fn map<U>(self, make: impl Fn(T) -> U) -> Hosts<U> {
        let each = |map: HashMap<Box<str>, T>| {
            let made = map.into_iter().map(|(name, kept)| (name, make(kept)));
            made.collect()
        };
        Hosts {
            exact: each(self.exact),
            wildcards: each(self.wildcards),
            any: self.any.map(&make),
        }
    }

    /// What holds for a host before all else.
    pub fn most_precise(&self, host: &str) -> Option<&T> {
        self.matching(host).next()
    }

    /// Whether there is something for certain names only.
    pub fn has_names(&self) -> bool {
        !self.exact.is_empty() || !self.wildcards.is_empty()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        !self.has_names() && self.any.is_none()
    }

    /// What holds where no host is named.
    pub fn unnamed(&self) -> Option<&T> {
        self.any.as_ref()
    }
}

#[cfg(test)]
mod tests;
