//! The last lines of a log: what a dead process had to say.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

/// Only this much of the file's end is read: a log may be large.
const BYTES_MAX: u64 = 64 * 1024;

/// At most `count` last lines of the file, oldest first; none when it can't be read.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let text = read_end(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<_> = text.lines().rev().take(count).map(str::to_owned).collect();
    lines.reverse();
    lines
}

fn read_end(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
    let mut end = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut end)?;
    Ok(end)
}

#[cfg(test)]
mod tests;
