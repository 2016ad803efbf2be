//! Changes of keys, and how they fit into etcd's bounds. Pure.
//!
//! etcd takes 128 operations and 1.5 MiB in one transaction, and a commit may be larger. It is then *staged*: written
//! beside, in pieces that nobody looks at, and put in force by the one transaction that moves the pointer to them. Whoever
//! reads takes the pieces for written over the rest; later they are, a transaction at a time ([`batches`]), and it makes no
//! difference to a reader how far that has come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::registry::shared::SharedError;

/// Operations in one transaction, with room for those that move the pointer: etcd's own bound is 128.
const OPERATIONS_MAX: usize = 100;

/// Bytes in one request, of keys and values: etcd's own bound is 1.5 MiB, everything included.
const BYTES_MAX: usize = 1 << 20;

/// Keys and what they shall hold; `None`: nothing. Keys without the mesh's prefix.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// How a commit travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// All of it in the transaction that moves the pointer.
    Direct,
    /// Pieces to be written before.
    Staged(Vec<Vec<u8>>),
}

/// Where the configuration is, the value of the one key that all control planes compare and watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pointer {
    /// The newest revision.
    pub number: u64,
    /// sha256 of the configuration, hex.
    pub digest: String,
    /// Of the attempt that wrote it: who is not told how an attempt ended finds out by this.
    pub commit: String,
    /// How many pieces of it are staged and not yet written over the rest.
    #[serde(default)]
    pub pieces: u32,
}

impl Pointer {
    /// Below which the pieces are.
    pub(super) fn stage(&self) -> String {
        format!("{}/{:020}-{}", STAGED, self.number, self.commit)
    }
}

/// Below which all pieces are, in the order of their revisions.
pub(super) const STAGED: &str = "staged";

/// # Errors
/// [`SharedError::TooLong`]: a value that fits into no request.
pub(super) fn plan(changes: &Changes) -> Result<Plan, SharedError> {
    for (key, value) in changes {
        if size(key, value.as_deref()) > BYTES_MAX {
            return Err(SharedError::TooLong {
                key: key.clone(),
                bytes: size(key, value.as_deref()),
                most: BYTES_MAX,
            });
        }
    }
    if batches(changes).len() <= 1 {
        return Ok(Plan::Direct);
    }
    let written = serde_json::to_vec(changes).map_err(|error| SharedError::Refused {
        why: error.to_string(),
    })?;
    Ok(Plan::Staged(
        written.chunks(BYTES_MAX).map(<[u8]>::to_vec).collect(),
    ))
}

/// What was staged, from its pieces in order.
pub(super) fn staged(pieces: &[Vec<u8>]) -> Result<Changes, serde_json::Error> {
    serde_json::from_slice(&pieces.concat())
}

/// Parts that fit into a transaction each, in order.
pub(super) fn batches(changes: &Changes) -> Vec<Vec<(&str, Option<&str>)>> {
    let mut batches: Vec<Vec<(&str, Option<&str>)>> = Vec::new();
    let mut bytes = 0;
    for (key, value) in changes {
        let value = value.as_deref();
        let more = size(key, value);
        match batches.last_mut() {
            Some(last) if last.len() < OPERATIONS_MAX && bytes + more <= BYTES_MAX => {
                last.push((key, value));
                bytes += more;
            }
            _ => {
                batches.push(vec![(key, value)]);
                bytes = more;
            }
        }
    }
    batches
}

fn size(key: &str, value: Option<&str>) -> usize {
    // What surrounds them on the wire, and the mesh's prefix.
    const ENVELOPE: usize = 128;
    key.len() + value.map_or(0, str::len) + ENVELOPE
}

#[cfg(test)]
mod tests;
