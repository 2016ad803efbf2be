//! Headers, lengths, orphans, leftovers.

use std::collections::BTreeMap;

use super::{assert_none, ratchet, sources};

const LINES_MAX: usize = 400;

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources::rust()
        .into_iter()
        .filter(|source| {
            !source.text.starts_with("//! ") || source.text.starts_with("//! Skeleton")
        })
        .map(|source| source.path)
        .collect::<Vec<_>>();
    assert_none(
        "these files do not begin with a `//!` line that says what they are for:",
        &silent,
    );
}

#[test]
fn no_file_outgrows_a_reader() {
    let allowed = ratchet().long_files;
    let mut findings = Vec::new();
    for source in sources::rust() {
        let lines = source.text.lines().count();
        match allowed.get(&source.path) {
            Some(limit) if lines > *limit => {
                findings.push(format!(
                    "{}: {lines} lines, and its exception was {limit}",
                    source.path
                ));
            }
            Some(limit) if lines <= LINES_MAX => {
                findings.push(format!(
                    "{}: {lines} lines; remove its exception of {limit}",
                    source.path
                ));
            }
            None if lines > LINES_MAX => {
                findings.push(format!(
                    "{}: {lines} lines; {LINES_MAX} is the limit",
                    source.path
                ));
            }
            _ => {}
        }
    }
    assert_none("files over the limit:", &findings);
}

#[test]
fn every_todo_has_an_issue() {
    let mut findings = Vec::new();
    for source in sources::rust()
        .iter()
        .filter(|source| !source.path.starts_with("tests/tidy"))
    {
        for (number, line) in source.text.lines().enumerate() {
            let bare = line.contains("TODO") && !line.contains("TODO(#");
            if bare || line.contains("FIXME") || line.contains("XXX") {
                findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("a TODO names its issue, `TODO(#123): …`:", &findings);
}

#[test]
fn every_module_is_reachable() {
    let files = sources::rust();
    let by_path: BTreeMap<_, _> = files
        .iter()
        .map(|f| (f.path.as_str(), f.text.as_str()))
        .collect();
    let mut findings = Vec::new();
    for source in &files {
        let Some((folder, name)) = source.path.rsplit_once('/') else {
            continue;
        };
        let stem = name.trim_end_matches(".rs");
        let is_root = matches!(stem, "main" | "lib" | "build")
            || [
                "/tests",
                "/benches",
                "/fuzz_targets",
                "/examples",
                "/bin",
                "/checks",
            ]
            .iter()
            .any(|d| folder.ends_with(d));
        if is_root {
            continue;
        }
        // `a/mod.rs` is declared beside `a`, `a/b.rs` in `a/mod.rs`, `a.rs`, `lib.rs` or `main.rs`.
        let (folder, module) = match stem {
            "mod" => folder.rsplit_once('/').unwrap_or(("", folder)),
            _ => (folder, stem),
        };
        let parents = [
            format!("{folder}/mod.rs"),
            format!("{folder}.rs"),
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
        ];
        // Tests of one package share folders beside them: each of them may be the parent.
        let is_beside = |path: &str| {
            folder.ends_with("/tests") && path.rsplit_once('/').is_some_and(|(of, _)| of == folder)
        };
        let beside = by_path.iter().filter(|(path, _)| is_beside(path));
        let declared = parents
            .iter()
            .filter_map(|parent| by_path.get(parent.as_str()))
            .chain(beside.map(|(_, text)| text))
            .any(|text| {
                text.lines().any(|line| {
                    let line = line.trim();
                    line.ends_with(&format!("mod {module};"))
                        || line.contains(&format!("mod {module} {{"))
                })
            });
        if !declared {
            findings.push(source.path.clone());
        }
    }
    assert_none("no `mod` line reaches these files:", &findings);
}

#[test]
fn no_public_text_is_said_twice() {
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources::rust().iter().filter(|source| !source.is_test()) {
        // A kind and its model may well describe one thing in the same words; a module not.
        let module: Vec<_> = source.path.split('/').take(3).collect();
        let module = module.join("/");
        let (mut doc, mut section) = (String::new(), false);
        for (number, line) in source.text.lines().enumerate() {
            let line = line.trim();
            if let Some(text) = line.strip_prefix("/// ") {
                section |= text.starts_with("# ");
                if !section {
                    doc.push_str(text);
                    doc.push(' ');
                }
                continue;
            }
            let place = format!("{}:{}", source.path, number + 1);
            // Short ones ("The number.") are true of many things.
            if line.starts_with("pub ")
                && doc.len() > 80
                && let Some(first) = seen.insert((module.clone(), doc.clone()), place.clone())
            {
                findings.push(format!("{first} and {place}: {doc}"));
            }
            if !line.starts_with("#[") && line != "///" {
                doc.clear();
                section = false;
            }
        }
    }
    assert_none("two public items with the same words:", &findings);
}

#[test]
fn no_path_of_a_developers_machine_is_left() {
    let mut findings = Vec::new();
    for source in sources::with_extensions(&["rs", "toml", "md", "yaml", "yml", "sh", "proto"]) {
        if source.path.starts_with("tests/tidy") {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            if ["/root/", "/work/", "/home/"]
                .iter()
                .any(|path| line.contains(path))
            {
                findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("paths that exist on one machine only:", &findings);
}

#[test]
fn tests_do_not_sleep_and_are_not_ignored() {
    let mut findings = Vec::new();
    for source in sources::rust()
        .iter()
        .filter(|source| !source.path.starts_with("tests/tidy"))
    {
        for (number, line) in source.text.lines().enumerate() {
            if line.contains("#[ignore") || line.contains("thread::sleep(") {
                findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("ignored tests, or threads that sleep:", &findings);
}

/// A migration that is in the folder and not in the list would never run.
#[test]
fn every_migration_is_named_by_its_service() {
    let services = super::root().join("sample-services");
    let mut forgotten = Vec::new();
    for service in std::fs::read_dir(services)
        .expect("sample-services")
        .flatten()
    {
        let source = std::fs::read_to_string(service.path().join("src/lib.rs")).unwrap_or_default();
        let files = std::fs::read_dir(service.path().join("migrations"));
        for file in files.into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if !source.contains(&format!("\"../migrations/{name}\"")) {
                forgotten.push(file.path().display().to_string());
            }
        }
    }
    assert_none(
        "no `src/lib.rs` beside them names these migrations:",
        &forgotten,
    );
}
