//! Two maps, entry by entry: both are in order, so nothing is looked up.

use std::{cmp::Ordering, collections::BTreeMap};

/// Every key of either, in order, with what each has under it.
pub fn beside<'a, K: Ord, V>(
    one: &'a BTreeMap<K, V>,
    other: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (ones.peek(), others.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        match order {
            Ordering::Less => ones.next().map(|(key, value)| (key, Some(value), None)),
            Ordering::Greater => others.next().map(|(key, value)| (key, None, Some(value))),
            Ordering::Equal => {
                let (_, other) = others.next()?;
                ones.next()
                    .map(|(key, value)| (key, Some(value), Some(other)))
            }
        }
    })
}

#[cfg(test)]
mod tests;
