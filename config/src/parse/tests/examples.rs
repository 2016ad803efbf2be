//! The examples that people copy are right.

use std::collections::BTreeSet;

use super::*;
use crate::kind::{Choice, Kind};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn complaints(parsed: &Parsed) -> String {
    parsed
        .mistakes
        .iter()
        .map(|mistake| format!("{mistake}\n"))
        .collect()
}

#[test]
fn all_examples_together_have_no_mistakes() {
    let parsed = parse_directory(&directory()).expect("readable");
    assert!(parsed.mistakes.is_empty(), "{}", complaints(&parsed));
    assert!(parsed.rejected.is_empty() && parsed.unreadable.is_empty());
}

#[test]
fn each_example_stands_alone() {
    for entry in std::fs::read_dir(directory()).expect("readable") {
        let parsed = parse_directory(&entry.expect("readable").path()).expect("readable");
        assert!(
            parsed.mistakes.is_empty() && !parsed.objects.is_empty(),
            "{}",
            complaints(&parsed)
        );
    }
}

#[test]
fn every_kind_has_an_example() {
    let parsed = parse_directory(&directory()).expect("readable");
    let kinds: BTreeSet<Kind> = parsed
        .objects
        .iter()
        .map(|located| located.object.kind())
        .collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
}

#[test]
fn an_object_written_back_parses_to_itself() {
    for located in parse_directory(&directory()).expect("readable").objects {
        let text = located.object.to_yaml().expect("serialises");
        let again = parse(&text);
        assert!(!again.objects.is_empty(), "{text}\n{}", complaints(&again));
        assert_eq!(again.objects[0].object, located.object);
        assert_eq!(again.objects[0].object.to_yaml().expect("serialises"), text);
    }
}
