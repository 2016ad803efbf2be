//! `usher inject` on manifests of all kinds, against files: `UPDATE=1` writes them anew.
//!
//! `inject/good/NAME.yaml` becomes `NAME.out.yaml`, with the flags in its first line's `# usher inject …`; of
//! `inject/bad/NAME.yaml` nothing is written, and `NAME.txt` is what is said of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that cannot be read fails the test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/inject")
        .join(name)
}

/// All manifests of a folder, by name; those that are written here are none.
fn manifests(name: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_manifest = |path: &PathBuf| {
        let name = path.to_string_lossy();
        !name.contains(".out.") && !name.ends_with(".txt")
    };
    let mut all: Vec<PathBuf> = all.filter(is_manifest).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

/// As a user would, in the manifest's folder.
fn inject(path: &Path, more: &[&str]) -> Output {
    let text = fs::read_to_string(path).unwrap();
    let flags = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# usher inject "));
    let flags = flags.unwrap_or_default().split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_usher"))
        .current_dir(path.parent().unwrap())
        .args(["inject", "-f"])
        .arg(path.file_name().unwrap())
        .args([
            "--image",
            "usher-proxy:test",
            "--init-image",
            "usher-init:test",
        ])
        .args(flags)
        .args(more)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn compare(path: &Path, found: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, found).unwrap();
    }
    let meant = fs::read_to_string(path).unwrap_or_default();
    assert!(
        meant == found,
        "{} is not what comes out; UPDATE=1 writes it anew:\n{found}",
        path.display()
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn good_manifests_become_what_is_written_beside_them() {
    for path in manifests("good") {
        let output = inject(&path, &[]);
        assert!(
            output.status.success(),
            "{}: {}",
            path.display(),
            text(&output.stderr)
        );
        let ending = path.extension().unwrap().to_string_lossy().into_owned();
        let out = path.with_extension(format!("out.{ending}"));
        compare(&out, &text(&output.stdout));
        let again = inject(&out, &[]);
        assert_eq!(
            text(&again.stdout),
            text(&output.stdout),
            "{} twice",
            path.display()
        );
    }
}

#[test]
fn of_bad_manifests_nothing_is_written_and_each_mistake_has_its_line() {
    for path in manifests("bad") {
        let output = inject(&path, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", path.display());
        assert_eq!(text(&output.stdout), "", "{}", path.display());
        compare(&path.with_extension("txt"), &text(&output.stderr));
    }
}

#[test]
fn a_report_says_what_became_of_each_object() {
    let path = folder("good").join("kinds.yaml");
    let output = inject(&path, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    let objects = report["objects"].as_array().unwrap();
    assert!(
        objects
            .iter()
            .any(|one| one["outcome"] == "injected" && one["object"] == "Deployment bank/account")
    );
    assert!(
        report["manifests"][0]["text"]
            .as_str()
            .unwrap()
            .contains("usher-proxy:test")
    );
    let path = folder("bad").join("annotations.yaml");
    let output = inject(&path, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["ok"], output.status.code()),
        (&false.into(), Some(1))
    );
    assert!(report["mistakes"][0]["line"].is_u64() && report["manifests"].is_null());
}

#[test]
fn a_difference_is_shown_and_nothing_else() {
    let path = folder("good").join("kinds.yaml");
    let output = inject(&path, &["--diff"]);
    assert_eq!(output.status.code(), Some(1), "something would change");
    let shown = text(&output.stdout);
    assert!(
        shown.starts_with("--- a/kinds.yaml\n+++ b/kinds.yaml\n@@ "),
        "{shown}"
    );
    assert!(shown.contains("\n+      - name: usher-proxy\n"), "{shown}");
    let output = inject(&folder("good").join("kinds.out.yaml"), &["--diff"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), String::new())
    );
}

#[test]
fn directories_and_stdin_are_one_stream_and_out_again_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("below");
    fs::create_dir(&below).unwrap();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: app, image: a}}]}}"
        )
    };
    fs::write(directory.path().join("a.yaml"), pod("a")).unwrap();
    fs::write(below.join("b.yml"), pod("b") + "\n").unwrap();
    fs::write(directory.path().join("c.txt"), "kind: [").unwrap();
    let usher = |arguments: &[&str], input: &str| {
        let file = directory.path().join("input");
        fs::write(&file, input).unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_usher"))
            .arg("inject")
            .args(arguments)
            .stdin(fs::File::open(file).unwrap())
            .output();
        let output = command.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let injected = usher(&["-f", directory.path().to_str().unwrap()], "");
    assert_eq!(
        injected.matches("usher.dev/injected\": \"true\"").count()
            + injected.matches("usher.dev/injected: \"true\"").count(),
        2,
        "{injected}"
    );
    let out = usher(&["-f", "-", "--uninject"], &injected);
    let flow = |text: &str| text.replace(['"', ' ', '\n'], "");
    assert_eq!(
        flow(&out),
        flow(&format!("{}\n---\n{}", pod("a"), pod("b")))
    );
}

#[test]
fn a_path_that_is_not_there_is_told_with_the_one_beside_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_usher"))
        .current_dir(folder("good"))
        .args(["inject", "-f", "kind.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(
        text(&output.stderr).contains("did you mean kinds.yaml?"),
        "{}",
        text(&output.stderr)
    );
}
