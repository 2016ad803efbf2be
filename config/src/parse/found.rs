//! Which files a directory holds.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{files::named, known::Stamp};

/// Deeper folders are refused: a link that leads back up would have no end.
const FOLDERS_MAX: usize = 16;

/// What directories hold, in order of path. The same file may be reached by two places; it is one file still.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: Vec<(PathBuf, Stamp)>,
    /// Links to what is not there.
    pub(super) dangling: Vec<PathBuf>,
}

/// Adds what is in a directory, name after name.
pub(super) fn list(directory: &Path, depth: usize, found: &mut Found) -> io::Result<()> {
    if depth > FOLDERS_MAX {
        let error = format!(
            "{} is more than {FOLDERS_MAX} folders deep",
            directory.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    let entries = fs::read_dir(directory).map_err(|error| named(directory, &error))?;
    let names: io::Result<Vec<OsString>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let mut names = names.map_err(|error| named(directory, &error))?;
    names.sort_unstable();
    for name in names {
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let path = directory.join(name);
        let is_yaml = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml");
        if hidden {
            continue;
        }
        // Follows links: a mounted ConfigMap has nothing else. Without an ending, a dangling one most likely was a folder.
        let may_hold_objects = is_yaml || path.extension().is_none();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => list(&path, depth + 1, found)?,
            Ok(metadata) if metadata.is_file() && is_yaml => {
                found.files.push((path, Stamp::of(&metadata)));
            }
            Ok(_) => {}
            // Deleted since it was listed, or a link to what is not there. Anything else says nothing about what is there.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(named(&path, &error));
            }
            Err(_) if may_hold_objects && path.is_symlink() => {
                found.dangling.push(path);
            }
            Err(_) => {}
        }
    }
    Ok(())
}
