//! What was really done: every application writes the number of each request that must not be repeated, before it
//! answers. A process that is killed loses nothing that it has written.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::{Value, json};

/// A file that all applications append to.
#[derive(Debug, Clone)]
pub(super) struct Ledger(PathBuf);

/// Compared with what callers were told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Different requests that were done.
    done: usize,
    /// Done more than once.
    twice: Vec<u64>,
    /// Answered with success, and never done.
    missing: Vec<u64>,
}

impl Ledger {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// In one write, so that lines of several processes do not mix.
    pub(super) fn append(&self, number: u64) -> Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.0)?;
        Ok(file.write_all(format!("{number}\n").as_bytes())?)
    }

    pub(super) fn check(&self, acknowledged: &[u64]) -> Result<Checked> {
        Ok(check(&std::fs::read_to_string(&self.0)?, acknowledged))
    }
}

fn check(text: &str, acknowledged: &[u64]) -> Checked {
    let mut times = HashMap::new();
    for number in text.lines().filter_map(|line| line.parse::<u64>().ok()) {
        *times.entry(number).or_insert(0_u32) += 1;
    }
    let twice = times.iter().filter(|(_, times)| **times > 1);
    let mut twice: Vec<u64> = twice.map(|(number, _)| *number).collect();
    twice.sort_unstable();
    let missing = acknowledged.iter().copied();
    let missing = missing.filter(|number| !times.contains_key(number));
    Checked {
        done: times.len(),
        twice,
        missing: missing.collect(),
    }
}

impl Checked {
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if !self.twice.is_empty() {
            broken.push(format!("{} requests were done twice", self.twice.len()));
        }
        if !self.missing.is_empty() {
            let missing = self.missing.len();
            broken.push(format!("{missing} requests succeeded and were never done"));
        }
        broken
    }

    pub(super) fn json(&self) -> Value {
        json!({ "done": self.done, "twice": self.twice, "missing": self.missing })
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn twice_done_and_never_done_are_found() {
        let checked = check("1\n2\n3\n2\n", &[1, 2, 7]);
        assert_eq!(checked.done, 3);
        assert_eq!(
            (checked.twice.as_slice(), checked.missing.as_slice()),
            (&[2_u64][..], &[7_u64][..])
        );
        assert_eq!(checked.broken_promises().len(), 2);
    }

    #[test]
    fn what_was_done_without_an_answer_is_no_broken_promise() {
        let checked = check("1\n2\n", &[1]);
        assert!(checked.broken_promises().is_empty());
    }
}
