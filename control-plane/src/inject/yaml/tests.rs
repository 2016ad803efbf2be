//! Trees and texts: what is written is what is read, and edits do what they say.

use proptest::{collection::vec, prelude::*};

use super::*;

fn scalar() -> impl Strategy<Value = Node> {
    let texts = prop_oneof![
        "\\PC{0,12}",
        ".{0,8}",
        "[-:{}\\[\\]&*!|>'\"%@`#,? a]{0,6}",
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("~".to_owned()),
        Just("a\n b\n".to_owned()),
    ];
    let words = proptest::sample::select(vec!["1", "true", "null", "0644", "1.5", "yes"]);
    prop_oneof![texts.prop_map(text), words.prop_map(word)]
}

fn tree() -> impl Strategy<Value = Node> {
    scalar().prop_recursive(4, 32, 5, |inner| {
        let key = prop_oneof![
            "[a-z]{1,6}",
            "\\PC{0,6}",
            Just("yes".to_owned()),
            Just("a: b".to_owned())
        ];
        let entries = proptest::collection::btree_map(key, inner.clone(), 0..5);
        let mapping = entries.prop_map(|entries| {
            map(entries
                .iter()
                .map(|(key, value)| (key.as_str(), value.clone())))
        });
        prop_oneof![vec(inner, 0..5).prop_map(list), mapping]
    })
}

fn reread(text: &str) -> Node {
    let read = read(text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    read.root.unwrap()
}

/// A tree without keys of YAML's own.
fn is_plain(node: &Node) -> bool {
    let entries = node.entries().iter();
    let mut entries = entries.map(|entry| entry.key.text != "<<" && is_plain(&entry.value));
    entries.all(|plain| plain) && node.items().iter().all(is_plain)
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(tree in tree()) {
        prop_assume!(is_plain(&tree));
        prop_assert_eq!(&reread(&emit::document("", &tree)), &tree);
        prop_assert_eq!(&reread(&flow(&tree)), &tree);
    }

    #[test]
    fn edits_lead_from_any_tree_to_any_other(from in tree(), target in tree(), in_line: bool) {
        prop_assume!(is_plain(&from) && is_plain(&target));
        let text = if in_line { flow(&from) } else { emit::document("# above\n", &from) };
        let rewritten = rewritten(&text, &reread(&text), &target);
        prop_assert_eq!(&reread(&rewritten), &target, "{}", &rewritten);
    }

    #[test]
    fn documents_add_up_to_the_text(text in "(---|\\.\\.\\.|#|%|a|\n| ){0,24}") {
        let all: String = documents(&text).iter().map(|document| document.text).collect();
        prop_assert_eq!(all, text);
    }
}

#[test]
fn an_edit_touches_only_its_lines() {
    let text = "a: 1   # one\nb:\n# of x\n- name: x\n  v: [1,  2]\n- {name: y}\n\nc: |\n  text\n";
    let from = reread(text);
    let mut target = from.clone();
    let items = target.get_mut("b").and_then(Node::items_mut).unwrap();
    items.insert(0, map([("name", super::text("new")), ("v", list([]))]));
    target.put("d", map([("e", word(1))]));
    let meant = "a: 1   # one\nb:\n- name: new\n  v: []\n# of x\n- name: x\n  v: [1,  2]\n- {name: y}\n\nc: |\n  text\nd:\n  e: 1\n";
    assert_eq!(rewritten(text, &from, &target), meant);
    assert_eq!(rewritten(meant, &reread(meant), &from), text);
}

#[test]
fn words_of_yaml_1_1_are_no_texts() {
    for found in [
        "yes",
        "No",
        "on",
        "0644",
        "1_000",
        "1:30",
        ".5",
        "-1",
        "~",
        "TRUE",
        "+1e3",
        "0x1F",
        "2026-11-29",
        "2026-1-2 10:00",
    ] {
        let node = word(found);
        assert!(node.as_text().is_none(), "{found}");
        assert_ne!(node, text(found), "{found}");
    }
    for found in [
        "a-b/c",
        "30s",
        "200m",
        "1Gi",
        "10.96.0.1",
        "10.0.0.0/8",
        "8000-8080",
        "127.0.0.1:1=a:2",
        "-",
        "+a",
    ] {
        assert_eq!(word(found), text(found), "{found}");
    }
}

#[test]
fn a_number_is_one_in_every_spelling() {
    for number in [
        "1337",
        "+1337",
        "1_337",
        "0x539",
        "0o2471",
        "02471",
        "0b10100111001",
        "1337.0",
        "1.337e3",
    ] {
        assert_eq!(word(number).number(), Some(1337), "{number}");
    }
    for other in ["1337.5", "x", "", "0x", "nan", "inf", "1337s", "0o"] {
        assert_ne!(word(other).number(), Some(1337), "{other}");
    }
    assert_eq!(word("0").number(), Some(0));
    assert_eq!(text("1337").number(), None);
}

#[test]
fn what_misses_its_end_is_told_where_something_stands() {
    for (text, line) in [("a: [\n", 1), ("kind: Pod\nmetadata: {name: x\n\n\n", 4)] {
        let unreadable = read(text).expect_err("it has no end");
        assert_eq!(unreadable.line, line, "{text:?}: {unreadable:?}");
    }
}
