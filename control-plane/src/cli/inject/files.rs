//! Which files, and what they say.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::cli::{Failure, exit, meant_path};

/// A file's text.
#[derive(Debug)]
pub(super) struct File {
    /// `<stdin>` for what has none.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Directories in directories.
const DEPTH_MAX: usize = 32;

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// In the order of the arguments, of a directory by name; at least one.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let path = PathBuf::from("<stdin>");
            let read = io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| unreadable(&path, &error))?;
            files.push(text(path, bytes)?);
            continue;
        }
        for path in below(path, 0)? {
            let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            files.push(text(path, bytes)?);
        }
    }
    match files.is_empty() {
        // What has looked at nothing must not look as if all was well.
        true => Err(Failure::new(
            exit::USAGE,
            "there is no *.yaml, *.yml or *.json file in the given directories",
        )),
        false => Ok(files),
    }
}

fn text(path: PathBuf, bytes: Vec<u8>) -> Result<File, Failure> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File { path, text }),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            Err(Failure::new(exit::FAILED, message).advise("manifests are UTF-8"))
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(
        exit::FAILED,
        format!("cannot read {}: {error}", path.display()),
    );
    match error.kind() {
        io::ErrorKind::NotFound => meant_path(failure, path),
        _ => failure,
    }
}

/// The file itself, or all manifests of a directory.
fn below(path: &Path, depth: usize) -> Result<Vec<PathBuf>, Failure> {
    let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !found.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| unreadable(path, &error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type());
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        // Links to directories are not followed: they may lead back.
        let is_directory = kind.is_ok_and(|kind| kind.is_dir());
        let ending = path.extension().and_then(|ending| ending.to_str());
        if is_directory && !is_hidden && depth < DEPTH_MAX {
            files.extend(below(&path, depth + 1)?);
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending))
            && path.is_file()
            && !is_hidden
        {
            files.push(path);
        }
    }
    Ok(files)
}
