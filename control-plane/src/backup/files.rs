//! Files of the data directory that are taken along as they are: token issuers' keys, and the mesh's own if asked for.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    private_files::{private_directory, write_private},
    state::KEYS_FOLDER,
};

/// The mesh's own keys, a folder in the data directory.
pub(super) const AUTHORITY: &str = "ca";

/// Whether the mesh's private keys are in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Keys {
    /// They are kept apart.
    LeftOut,
    /// Whoever has the file can be anybody in the mesh.
    Included,
}

/// Base64 by path below the data directory.
pub(super) fn read(data: &Path, keys: Keys) -> io::Result<BTreeMap<String, String>> {
    /// A file is replaced whole, but several that belong together are one after the other.
    const ATTEMPTS_MAX: u32 = 5;
    let once = || {
        let mut files = BTreeMap::new();
        collect(data, KEYS_FOLDER, &mut files)?;
        if keys == Keys::Included {
            collect(data, AUTHORITY, &mut files)?;
        }
        Ok::<_, io::Error>(files)
    };
    let mut seen = once()?;
    for _ in 1..ATTEMPTS_MAX {
        let again = once()?;
        if again == seen {
            return Ok(seen);
        }
        seen = again;
    }
    Err(io::Error::other(
        "they change all the time; try again in a moment",
    ))
}

/// Of a folder, as deep as it goes. Logs (`*.jsonl`) are records and no state: they stay where they are.
fn collect(data: &Path, below: &str, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    let entries = match fs::read_dir(data.join(below)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| io::Error::other(format!("the name of {name:?}")))?;
        // What is being written has another name when it is whole.
        if name.starts_with('.') || name.ends_with(".jsonl") {
            continue;
        }
        let path = format!("{below}/{name}");
        if entry.file_type()?.is_dir() {
            collect(data, &path, files)?;
        } else {
            files.insert(path, STANDARD.encode(fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// Writes them into a new data directory, each for its owner only.
pub(super) fn write(data: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    for (name, text) in files {
        let path = Path::new(name);
        let is_below = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let is_ours = path.starts_with(AUTHORITY) || path.starts_with(KEYS_FOLDER);
        if !is_below || !is_ours {
            let message =
                format!("found the file `{name}`, allowed: below {AUTHORITY}/ and {KEYS_FOLDER}/");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let content = STANDARD.decode(text);
        let content = content.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let path = data.join(path);
        private_directory(path.parent().unwrap_or(data))?;
        write_private(&path, &content)?;
    }
    Ok(())
}
