//! Reads `config/tests/bad`: a good object of each kind, and edits of it that are mistakes (README.md there).

use std::{fs, path::Path};

/// What there is of one kind.
pub(crate) struct Kind {
    /// The file's name without its ending: `http-route`.
    pub(crate) name: String,
    /// The object as it should be.
    pub(crate) good: String,
    /// What people make of it.
    pub(crate) edits: Vec<Edit>,
}

/// A mistake.
pub(crate) struct Edit {
    /// The whole object with it.
    pub(crate) text: String,
    /// Where it is, from 1.
    pub(crate) line: usize,
    /// What the complaint has to have in it.
    pub(crate) says: Vec<String>,
}

/// All kinds, by name.
pub(crate) fn all(folder: &Path) -> Vec<Kind> {
    let files =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut kinds: Vec<Kind> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "diffs"))
        .map(|path| kind(&path))
        .collect();
    kinds.sort_by(|a, b| a.name.cmp(&b.name));
    kinds
}

fn kind(path: &Path) -> Kind {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let mut parts = text.split("===\n");
    let good = parts.next().unwrap().to_owned();
    let edits = parts.enumerate();
    let edits =
        edits.map(|(number, part)| edit(&good, part, &format!("{name}, edit {}", number + 1)));
    Kind {
        edits: edits.collect(),
        name,
        good: good.clone(),
    }
}

fn edit(good: &str, part: &str, which: &str) -> Edit {
    let with = |sign: &str| -> Vec<&str> {
        part.lines()
            .filter_map(|line| line.strip_prefix(sign))
            .collect()
    };
    let (old, new) = (with("- "), with("+ "));
    let [old] = old.as_slice() else {
        panic!("{which}: one line is replaced");
    };
    let at = good.lines().position(|line| line == *old);
    let at = at.unwrap_or_else(|| panic!("{which}: there is no line {old:?}"));
    let mut lines: Vec<&str> = good.lines().collect();
    lines.splice(at..=at, new.iter().copied());
    let line = match with("@ ").first() {
        Some(wanted) => lines.iter().position(|line| line == wanted),
        None => Some(at),
    };
    Edit {
        text: lines.join("\n") + "\n",
        line: line.unwrap_or_else(|| panic!("{which}: no line is as after @")) + 1,
        says: with("? ").into_iter().map(str::to_owned).collect(),
    }
}
