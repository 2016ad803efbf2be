//! Ten bad edits of each kind: each is refused at its line with a remedy, and what runs is what ran before.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fixture that cannot be read fails the test"
)]

#[path = "bad/edits.rs"]
mod edits;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use edits::Kind;
use usher_config::{
    kind::{Choice as _, Kind as Known},
    parse::{Parsed, parse_files},
};
use usher_control_plane::{compile::compile, registry::World};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/bad")
}

const WEB: &str = "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: { name: web }\nspec: { serviceAccount: web }\n";

/// All good objects, each in a file of its own, but this one.
fn mesh(kinds: &[Kind], instead: Option<(&Kind, &str)>) -> Parsed {
    let others = std::fs::read_to_string(folder().join("others.yaml")).unwrap();
    let mut files = vec![
        (PathBuf::from("others.yaml"), others),
        (PathBuf::from("web.yaml"), WEB.to_owned()),
    ];
    for kind in kinds {
        let text = match instead {
            Some((edited, text)) if edited.name == kind.name => text,
            _ => kind.good.as_str(),
        };
        files.push((format!("{}.yaml", kind.name).into(), text.to_owned()));
    }
    parse_files(&files)
}

#[test]
fn each_of_ten_bad_edits_of_each_kind_is_refused_at_its_line_and_changes_nothing() {
    let kinds = edits::all(&folder());
    assert_eq!(kinds.len(), Known::ALL.len(), "each kind has a file");
    let begun = SystemTime::UNIX_EPOCH;
    let good = World::default().read(&mesh(&kinds, None), Path::new(""), begun);
    assert_eq!(good.rejected, [], "the good objects are good");
    let compiled = compile(&good.world);
    let mut failures = Vec::new();
    for kind in &kinds {
        assert!(kind.edits.len() >= 10, "{}: ten edits", kind.name);
        for (number, edit) in kind.edits.iter().enumerate() {
            let parsed = mesh(&kinds, Some((kind, &edit.text)));
            let later = begun + Duration::from_secs(60);
            let reading = good.world.read(&parsed, Path::new(""), later);
            let at = format!("{}.yaml:{}:", kind.name, edit.line);
            let told: Vec<String> = reading
                .rejected
                .iter()
                .flat_map(|rejected| &rejected.mistakes)
                .map(|one| format!("{} {}: {}", one.at, one.path, one.message))
                .collect();
            let is_told = told.iter().any(|one| {
                let has = |words: &String| one.contains(words.as_str());
                one.starts_with(&at) && one.contains("allowed") && edit.says.iter().all(has)
            });
            let is_kept = reading.rejected.iter().all(|rejected| rejected.last_good);
            let is_same = compile(&reading.world) == compiled;
            if !is_told || !is_kept || !is_same {
                failures.push(format!(
                    "{} edit {}: wanted {at} with {:?}; kept {is_kept}, same {is_same}; told {told:#?}",
                    kind.name,
                    number + 1,
                    edit.says
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
