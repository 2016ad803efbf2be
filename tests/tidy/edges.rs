//! Dependency direction inside each crate, and purity of the modules that decide.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{assert_none, root, sources};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edges {
    /// Crate folder → module → modules of the same crate that it may use.
    crates: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Files or folders that read no clock, do no I/O and spawn nothing.
    pure: Vec<String>,
    /// Crate folder → workspace crates that it may depend on.
    packages: BTreeMap<String, BTreeSet<String>>,
}

fn allowed() -> Edges {
    let text = std::fs::read_to_string(root().join("tests/tidy/edges.yaml")).expect("edges.yaml");
    serde_yaml::from_str(&text).expect("edges.yaml is valid")
}

/// Modules named after `crate::` in shipped code, `use crate::{a, b}` included.
fn used_modules(text: &str) -> BTreeSet<String> {
    let pattern = regex::Regex::new(r"\bcrate::(?:\{([^;]*)\}|([a-z_0-9]+))").expect("pattern");
    let nested = regex::Regex::new(r"\{[^{}]*\}").expect("pattern");
    let mut used = BTreeSet::new();
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    for capture in pattern.captures_iter(&code) {
        if let Some(one) = capture.get(2) {
            used.insert(one.as_str().to_owned());
        }
        let Some(list) = capture.get(1) else { continue };
        let mut list = list.as_str().to_owned();
        while nested.is_match(&list) {
            list = nested.replace_all(&list, "").into_owned();
        }
        for item in list.split(',') {
            let module = item.trim().split("::").next().unwrap_or_default();
            if !module.is_empty() && module.starts_with(|c: char| c.is_ascii_lowercase()) {
                used.insert(module.to_owned());
            }
        }
    }
    used
}

#[test]
fn modules_use_only_what_the_map_allows() {
    let edges = allowed();
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for source in sources::rust().iter().filter(|source| !source.is_test()) {
        let Some(package) = edges
            .crates
            .keys()
            .find(|c| source.path.starts_with(&format!("{c}/src/")))
        else {
            continue;
        };
        let inside = source.path.trim_start_matches(&format!("{package}/src/"));
        let module = inside
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        let used = used_modules(source.shipped())
            .into_iter()
            .filter(|used| used != module);
        found
            .entry((package.clone(), module.to_owned()))
            .or_default()
            .extend(used);
    }
    let mut findings = Vec::new();
    for ((package, module), used) in found {
        let may = edges
            .crates
            .get(&package)
            .and_then(|modules| modules.get(&module));
        for used in used {
            if !may.is_some_and(|may| may.contains(&used)) {
                findings.push(format!("{package}: {module} → {used}"));
            }
        }
    }
    assert_none(
        "edges that tests/tidy/edges.yaml does not allow:",
        &findings,
    );
}

#[test]
fn pure_modules_read_no_clock_and_do_no_io() {
    const IMPURE: [&str; 9] = [
        "tokio::",
        "Instant::now",
        "SystemTime::now",
        "spawn(",
        "std::fs",
        "std::net::Tcp",
        "std::env",
        "fastrand::",
        "async fn",
    ];
    let pure = allowed().pure;
    let mut findings = Vec::new();
    for path in &pure {
        assert!(
            root().join(path).exists(),
            "edges.yaml names {path}, which is gone"
        );
    }
    for source in sources::rust().iter().filter(|source| !source.is_test()) {
        if !pure
            .iter()
            .any(|path| source.path.starts_with(path.as_str()))
        {
            continue;
        }
        for (number, line) in source.shipped().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = IMPURE.iter().find(|word| code.contains(**word)) {
                findings.push(format!("{}:{}: {word}", source.path, number + 1));
            }
        }
    }
    assert_none("decisions take time and chance as arguments:", &findings);
}

#[test]
fn packages_depend_only_on_what_the_map_allows() {
    let pattern = regex::Regex::new(r"(?m)^((?:usher|bank)-[a-z-]+)\b").expect("pattern");
    let mut findings = Vec::new();
    for (package, may) in allowed().packages {
        let manifest = std::fs::read_to_string(root().join(&package).join("Cargo.toml"))
            .unwrap_or_else(|_| panic!("edges.yaml names {package}, which is gone"));
        let shipped = manifest
            .split("[dev-dependencies]")
            .next()
            .unwrap_or_default();
        for capture in pattern.captures_iter(shipped) {
            if !may.contains(&capture[1]) {
                findings.push(format!("{package} → {}", &capture[1]));
            }
        }
    }
    assert_none(
        "workspace dependencies that tests/tidy/edges.yaml does not allow:",
        &findings,
    );
}
