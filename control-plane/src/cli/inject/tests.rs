//! Which files are read, in which order; what is written of several; which words flags take.

use std::fs;

use super::*;

const POD: &str = "\
kind: Pod
apiVersion: v1
metadata: {name: a}
spec: {containers: [{name: app, image: app}]}";

fn done(path: &str, text: &str) -> Done {
    let settings = Settings::default();
    Done {
        changed: change(text, Wish::Inject(&settings)),
        file: File {
            path: path.into(),
            text: text.to_owned(),
        },
    }
}

#[test]
fn of_a_directory_manifests_are_read_by_name_at_any_depth_and_nothing_else() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    fs::create_dir_all(root.join("b/c")).expect("made");
    fs::create_dir(root.join(".git")).expect("made");
    for name in [
        "z.json",
        "a.yaml",
        "b/c/d.yml",
        "b/notes.txt",
        ".git/x.yaml",
        ".y.yaml",
    ] {
        fs::write(root.join(name), name).expect("written");
    }
    let files = read(&[root.to_owned()]).expect("files");
    let texts: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
    assert_eq!(texts, ["a.yaml", "b/c/d.yml", "z.json"]);
    // A file that is named is read whatever its name is.
    let files = read(&[root.join("b/notes.txt")]).expect("a file");
    assert_eq!(files.len(), 1);
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_at_all_is_a_mistake() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let nothing = read(&[root.to_owned()]).expect_err("no manifest");
    assert!(nothing.message.contains("*.yaml"), "{}", nothing.message);
    fs::write(root.join("a.yaml"), [0xff, 0xfe]).expect("written");
    for (path, named) in [(root.to_owned(), "a.yaml"), (root.join("gone"), "gone")] {
        let failure = read(&[path]).expect_err("unreadable");
        assert!(failure.message.contains(named), "{}", failure.message);
    }
}

#[test]
fn several_files_are_one_stream_of_documents() {
    // One without a line feed at its end, and one that begins with a separator itself.
    let config = "---\nkind: ConfigMap\n";
    let all = [
        done("a.yaml", POD),
        done("b.yaml", config),
        done("c.yaml", POD),
    ];
    let text = show::joined(&all);
    assert!(
        !text.starts_with("---") && !text.contains("---\n---"),
        "{text}"
    );
    let again = change(&text, Wish::Uninject);
    assert_eq!(again.complaints, []);
    assert_eq!(again.documents.len(), 3, "{text}");
    // One alone is as it is.
    assert_eq!(show::joined(&[done("b.yaml", config)]), config);
}

#[test]
fn manifests_are_reported_only_where_nothing_is_wrong() {
    let wrong = POD.replace(
        "{name: a}",
        "{name: a, annotations: {usher.dev/mode: maybe}}",
    );
    for (text, is_good) in [(POD, true), (wrong.as_str(), false)] {
        let all = [done("a.yaml", text)];
        assert_eq!(all[0].changed.complaints.is_empty(), is_good, "{text}");
        let report = show::report(&all, is_good);
        assert_eq!(report["ok"], is_good);
        assert_eq!(report.get("manifests").is_some(), is_good, "{report}");
        assert_eq!(
            report["mistakes"].as_array().map(Vec::is_empty),
            Some(is_good)
        );
    }
}

#[test]
fn a_difference_is_empty_exactly_where_nothing_would_change() {
    assert_eq!(show::difference(&[done("b.yaml", "kind: ConfigMap\n")]), "");
    let difference = show::difference(&[done("a.yaml", POD)]);
    assert!(difference.contains("b/a.yaml") && difference.contains("usher-proxy"));
}

#[test]
fn flags_take_addresses_and_images_and_say_so_of_anything_else() {
    for good in ["usher.usher-system.svc:15012", "[::1]:15012", "a:1,b:2"] {
        assert_eq!(hosts(good).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "usher",
        "usher:0",
        "usher:70000",
        "a:1,",
        "$(HOST):1",
        "a b:1",
    ] {
        let refused = hosts(bad).expect_err(bad);
        assert!(refused.contains("HOST:PORT"), "{refused}");
    }
    assert!(image("registry.internal:5000/usher-proxy@sha256:ab").is_ok());
    for bad in ["", "$(IMAGE)", "a b"] {
        assert!(image(bad).is_err(), "{bad}");
    }
}

#[test]
fn that_nothing_has_pods_is_said_only_where_all_was_understood() {
    let nothing = "kind: ConfigMap\napiVersion: v1\n";
    let said = |texts: &[&str]| {
        let all: Vec<Done> = texts.iter().map(|text| done("a.yaml", text)).collect();
        show::podless(&all)
    };
    for understood in [nothing, "# only a comment\n", ""] {
        let [line] = &said(&[understood])[..] else {
            panic!("{understood:?}: one line");
        };
        assert!(line.contains("nothing here has pods"), "{line}");
    }
    assert_eq!(said(&[nothing, POD]), [""; 0]);
    for (text, found) in [
        ("- a\n- b\n", "a.yaml:1: found a list"),
        (
            "Error: no such chart",
            "a.yaml:1: found a mapping without apiVersion",
        ),
        (
            "\nkind: Pod\n",
            "a.yaml:2: found a mapping without apiVersion",
        ),
        (
            "apiVersion: v1\nKind: Pod\n",
            "found a mapping without kind",
        ),
        ("not a manifest", "found `not a manifest`"),
    ] {
        let [line] = &said(&[nothing, text])[..] else {
            panic!("{text:?}: one line");
        };
        assert!(line.contains(found), "{line}");
    }
}

#[test]
fn who_cannot_opt_out_is_not_told_to() {
    let wrong = "metadata: {name: a, annotations: {usher.dev/mode: maybe}}";
    let wrong = POD.replace("metadata: {name: a}", wrong);
    assert!(show::may_opt_out(&[done("a.yaml", &wrong)]));
    for unreadable in ["kind: [", &format!("{POD}\nkind: Pod\n")] {
        let all = [done("a.yaml", unreadable)];
        assert!(!all[0].changed.complaints.is_empty(), "{unreadable}");
        assert!(!show::may_opt_out(&all), "{unreadable}");
    }
}
