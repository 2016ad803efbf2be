//! The tree's files, read once per rule.

use std::path::{Path, PathBuf};

/// A file of the project.
pub(crate) struct Source {
    /// Relative to the workspace's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Lines before the first `#[cfg(test)]`: what ships.
    pub(crate) fn shipped(&self) -> &str {
        self.text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or(&self.text)
    }

    /// Whether the file is only compiled for tests.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.contains("/fuzz/")
            || self.path.contains("/benches/")
    }
}

fn skipped(name: &str) -> bool {
    matches!(
        name,
        "target" | ".git" | "generated" | "node_modules" | "artifacts" | "corpus" | "coverage"
    )
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).expect("readable directory");
    for entry in entries {
        let entry = entry.expect("readable entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().expect("file type").is_dir() {
            if !skipped(&name) {
                walk(&entry.path(), found);
            }
        } else {
            found.push(entry.path());
        }
    }
}

/// All files whose name ends with one of `extensions`, sorted by path; generated code is left out.
pub(crate) fn with_extensions(extensions: &[&str]) -> Vec<Source> {
    let root = super::root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let wanted = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
    };
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).expect("UTF-8 text"),
        path: path
            .strip_prefix(&root)
            .expect("below root")
            .to_string_lossy()
            .into_owned(),
    };
    paths.into_iter().filter(wanted).map(read).collect()
}

/// All Rust files.
pub(crate) fn rust() -> Vec<Source> {
    let sources = with_extensions(&["rs"]);
    assert!(
        sources.len() > 50,
        "found only {} Rust files: is the walk broken?",
        sources.len()
    );
    sources
}
