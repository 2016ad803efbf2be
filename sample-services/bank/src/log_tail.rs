//! The last lines of a log: what a dead process had to say.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use serde_json::Value;

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

/// The last `count` lines worth a person's time, short: of those that are no mere information, if any.
///
/// A line that is no JSON is what a program says before it gives up: it counts as trouble.
pub(crate) fn most_telling(lines: &[String], count: usize) -> Vec<String> {
    let lines: Vec<_> = lines.iter().map(|line| Said::parse(line)).collect();
    let has_trouble = lines.iter().any(|said| said.is_trouble);
    let mut told: Vec<_> = lines
        .into_iter()
        .rev()
        .filter(|said| said.is_trouble || !has_trouble)
        .take(count)
        .map(|said| said.text)
        .collect();
    told.reverse();
    told
}

/// One line of a log, for people.
struct Said {
    text: String,
    is_trouble: bool,
}

impl Said {
    /// `LEVEL message: error` of a structured line, whether its fields are flat or below `fields`; else the line.
    fn parse(line: &str) -> Self {
        let json: Value = serde_json::from_str(line).unwrap_or_default();
        let field = |name: &str| {
            let below = || json.get("fields").and_then(|fields| fields.get(name));
            json.get(name).or_else(below).and_then(Value::as_str)
        };
        let Some((level, message)) = field("level").zip(field("message")) else {
            return Self {
                text: line.to_owned(),
                is_trouble: true,
            };
        };
        let error = field("error").map(|error| format!(": {error}"));
        Self {
            text: format!("{level} {message}{}", error.unwrap_or_default()),
            is_trouble: matches!(level, "WARN" | "ERROR"),
        }
    }
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
