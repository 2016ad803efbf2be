//! One control group (v2) instead of a whole network namespace: whose connections are intercepted, by a table of its own.
//!
//! The kernel compares the ancestor of a socket's control group at a depth, so what the group's processes start is in
//! it too. `nft` looks the path up under `/sys/fs/cgroup` when it loads the rule.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use usher_config::value::InvalidValue;

use super::{nft::InterceptError, ruleset::TABLE};

/// Where `nft` looks.
const ROOT: &str = "/sys/fs/cgroup";

/// What `usher run --transparent` begins the names of its groups with.
const OURS: &str = "usher-";

/// Of a table's name, for people; the kernel takes 255 bytes of all of it.
const WORDS_MAX: usize = 160;

/// A path below `/sys/fs/cgroup`, such as `system.slice/web.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup(String);

impl Cgroup {
    /// Which of a group's ancestors, counted from the root, is to be this one.
    pub(super) fn level(&self) -> usize {
        self.0.split('/').count()
    }

    /// The table of its own: the last name, for people, and a hash of the path, for the kernel.
    pub(super) fn table(&self) -> String {
        let name = self.0.rsplit('/').next().unwrap_or_default();
        let name = name.strip_prefix(OURS).unwrap_or(name);
        let plain = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => letter,
            _ => '_',
        };
        let words: String = name.chars().map(plain).take(WORDS_MAX).collect();
        format!("{TABLE}-{words}-{:016x}", fnv1a(self.0.as_bytes()))
    }

    /// Where its files are.
    pub(super) fn directory(&self) -> PathBuf {
        Path::new(ROOT).join(&self.0)
    }

    /// # Errors
    /// `nft` would not find it; why.
    pub(super) fn must_exist(&self) -> Result<(), InterceptError> {
        // Only version 2 has this file in its root.
        if !Path::new(ROOT).join("cgroup.controllers").exists() {
            return Err(InterceptError::NoCgroups);
        }
        if self.directory().join("cgroup.procs").exists() {
            Ok(())
        } else {
            Err(InterceptError::NoCgroup {
                cgroup: self.to_string(),
            })
        }
    }

    /// Moves this process there.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(super) fn enter(&self) -> io::Result<()> {
        fs::write(self.directory().join("cgroup.procs"), "0")
    }

    /// What became of one that `usher run` made, in words; `None`: somebody else's, or gone.
    pub(super) fn remove_ours(&self) -> Option<String> {
        let directory = self.directory();
        let name = directory.file_name()?.to_str()?;
        if !name.starts_with(OURS) || !directory.exists() {
            return None;
        }
        Some(match fs::remove_dir(&directory) {
            Ok(()) => format!("removed: {}\n", directory.display()),
            Err(error) if self.has_processes() => format!(
                "kept: {} has processes, which are not intercepted any more ({error}); to end them: echo 1 > {}\n",
                directory.display(),
                directory.join("cgroup.kill").display()
            ),
            Err(error) => format!("kept: {} ({error})\n", directory.display()),
        })
    }

    fn has_processes(&self) -> bool {
        let mut first = [0];
        File::open(self.directory().join("cgroup.procs"))
            .and_then(|mut file| file.read(&mut first))
            .is_ok_and(|read| read > 0)
    }
}

/// FNV-1a, 64 bits: names are told apart, nobody is kept from making two alike who may write rules anyway.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

impl FromStr for Cgroup {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let path = text.strip_prefix(ROOT).unwrap_or(text);
        let path = path.trim_matches('/');
        let is_name = |name: &str| {
            let is_plain = |letter: char| !letter.is_control() && letter != '"';
            !matches!(name, "" | "." | "..") && name.chars().all(is_plain)
        };
        if path.split('/').all(is_name) {
            Ok(Self(path.to_owned()))
        } else {
            Err(InvalidValue::new(
                text,
                "a control group below /sys/fs/cgroup, not the root of all: system.slice/web.service",
            ))
        }
    }
}

impl fmt::Display for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
