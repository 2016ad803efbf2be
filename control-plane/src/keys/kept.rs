//! Sets that were fetched, on disk: one file each, in a folder that only we may write.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use usher_config::value::{Jwks, JwksUri};

use crate::private_files::{private_directory, write_private};

#[derive(Serialize, Deserialize)]
struct Kept {
    uri: String,
    jwks: String,
    /// Seconds since 1970.
    fetched_at: u64,
}

/// Writes a set down, and when it was fetched.
///
/// # Errors
/// The folder cannot be written.
pub fn keep(
    folder: &Path,
    (uri, jwks): (&JwksUri, &Jwks),
    fetched_at: SystemTime,
) -> io::Result<()> {
    let since_1970 = fetched_at.duration_since(SystemTime::UNIX_EPOCH);
    private_directory(folder)?;
    let kept = Kept {
        uri: uri.to_string(),
        jwks: jwks.to_string(),
        fetched_at: since_1970.unwrap_or_default().as_secs(),
    };
    let text = serde_json::to_vec(&kept).map_err(io::Error::from)?;
    write_private(&folder.join(file(uri)), &text)
}

fn file(uri: &JwksUri) -> String {
    let digest = Sha256::digest(uri.as_str());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}.json")
}

/// Deletes all but these: whoever names one again later should not find keys that nobody has looked after meanwhile.
///
/// # Errors
/// The folder cannot be written.
pub fn keep_only<'a>(
    folder: &Path,
    wanted: impl IntoIterator<Item = &'a JwksUri>,
) -> io::Result<()> {
    let wanted: BTreeSet<String> = wanted.into_iter().map(file).collect();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let is_wanted = (entry.file_name().to_str()).is_some_and(|name| wanted.contains(name));
        if !is_wanted && entry.path().extension().is_some_and(|end| end == "json") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// All that were written down, and when they were fetched. What cannot be read is as if it were not there: it is fetched
/// again.
pub fn restore(folder: &Path) -> BTreeMap<JwksUri, (Jwks, SystemTime)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let read = |path: &Path| {
        let kept: Kept = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(kept.fetched_at))?;
        Some((kept.uri.parse().ok()?, (kept.jwks.parse().ok()?, at)))
    };
    entries.filter_map(|entry| read(&entry.path())).collect()
}

#[cfg(test)]
mod tests;
