//! A change is shown by the lines that differ.

use super::*;

#[test]
fn lines_that_differ_are_shown_with_those_around_them() {
    let text: Vec<String> = (0..20).map(|line| format!("line {line}\n")).collect();
    let after = text.concat().replace("line 10\n", "line ten\n");
    let lines = object("Service bank/a", Some(&text.concat()), Some(&after)).join("\n");
    let plain = anstream::adapter::strip_str(&lines).to_string();
    let expected = "~ Service bank/a\n    line 7\n    line 8\n    line 9\n  - line 10\n  + line ten\n    line 11\n    line 12\n    line 13";
    assert_eq!(plain, expected);
    let added = object("Service bank/a", None, Some("x: 1\n")).join("\n");
    assert_eq!(
        anstream::adapter::strip_str(&added).to_string(),
        "+ Service bank/a\n  + x: 1"
    );
}

#[test]
fn the_list_says_how_many_objects_a_revision_changed_beyond_those_it_names() {
    let revision = |named: usize, changed_count| RevisionStatus {
        changed: (0..named)
            .map(|number| format!("Service bank/s{number}"))
            .collect(),
        changed_count,
        restorable: true,
        ..RevisionStatus::default()
    };
    for (named, count, said) in [
        (1, 1, "Service bank/s0"),
        (3, 3, "Service bank/s0 and 2 more"),
        (100, 250, "Service bank/s0 and 249 more"),
        (100, 100, "Service bank/s0 and 99 more"),
        // Written down by a version that did not count.
        (100, 0, "Service bank/s0 and at least 99 more"),
    ] {
        let text = listed(&[revision(named, count)], None);
        let line = text.lines().nth(1).expect("a row").to_owned();
        assert!(line.contains(&format!("  {said}  ")), "{line}");
    }
}
