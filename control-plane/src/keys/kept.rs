//! Sets that were fetched, on disk: one file each, in a folder that only we may write.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use usher_config::value::{Jwks, JwksUri};

use crate::private_files::{private_directory, write_private};

#[derive(Serialize, Deserialize)]
struct Kept {
    uri: String,
    jwks: String,
}

/// Writes a set down.
///
/// # Errors
/// The folder cannot be written.
pub fn keep(folder: &Path, uri: &JwksUri, jwks: &Jwks) -> io::Result<()> {
    private_directory(folder)?;
    let kept = Kept {
        uri: uri.to_string(),
        jwks: jwks.to_string(),
    };
    let name: String = Sha256::digest(uri.as_str())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = serde_json::to_vec(&kept).map_err(io::Error::from)?;
    write_private(&folder.join(format!("{name}.json")), &text)
}

/// All that were written down. What cannot be read is as if it were not there: it is fetched again.
pub fn restore(folder: &Path) -> BTreeMap<JwksUri, Jwks> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let read = |path: &Path| {
        let kept: Kept = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        Some((kept.uri.parse().ok()?, kept.jwks.parse().ok()?))
    };
    entries.filter_map(|entry| read(&entry.path())).collect()
}

#[cfg(test)]
mod tests;
