//! Facts about files and documents, whatever their kind.

use std::fs;

use super::*;

/// Whole documents, and what is said about them.
const DOCUMENTS: [(&str, &[&str]); 13] = [
    ("", &[]),
    ("---\n# nothing\n---\n...\n", &[]),
    (
        "apiVersion: v1\nkind: Servce\nmetadata: {name: a}\n",
        &["2: kind: `Servce`"],
    ),
    (
        "apiVersion: v2\nkind: Workload\nmetadata: {name: a}\nspec: {serviceAccount: a}\n",
        &["1: apiVersion: `v2`"],
    ),
    ("just text\n", &["1: : `just text`"]),
    ("- a\n- b\n", &["1: : a list"]),
    (
        "kind: [\n",
        &["1: : text that is not YAML (while parsing a node, did not find expected node content)"],
    ),
    (
        "a: &x 1\nb: *x\n",
        &[
            "1: kind: nothing",
            "1: apiVersion: nothing",
            "1: metadata: nothing",
            "2: b: an alias",
        ],
    ),
    (
        "a: !!binary aGk=\n",
        &[
            "1: kind: nothing",
            "1: apiVersion: nothing",
            "1: metadata: nothing",
            "1: a: a tag",
        ],
    ),
    (
        "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: a, namespace: b}\nspec: {}\n",
        &["3: metadata.namespace: a namespace"],
    ),
    (
        "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {name: A_b, labels: {a: 1}}\nspec: {serviceAccount: true}\n",
        &[
            "3: metadata.name: `A_b`",
            "3: metadata.labels.a: the number `1`",
            "4: spec.serviceAccount: `true`",
        ],
    ),
    (
        "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {name: a}\n",
        &["1: spec: nothing"],
    ),
    (
        "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {name: a}\nspec:\n  serviceAccount: a\n  zone: x\n  zone: y\n",
        &["7: spec.zone: `zone` for the second time"],
    ),
];

#[test]
fn a_document_is_checked_before_its_kind() {
    for (text, expected) in DOCUMENTS {
        let parsed = parse(text);
        assert_eq!(said(&parsed), expected, "{text}");
        assert_eq!(parsed.has_errors(), !expected.is_empty());
    }
}

/// `apiVersion` and `kind` of documents that are for others.
const FOREIGN: [(&str, &str); 8] = [
    ("apps/v1", "Deployment"),
    ("v1", "ConfigMap"),
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("networking.k8s.io/v1", "Ingress"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("rbac.authorization.k8s.io/v1", "Role"),
];

/// The same of documents that may be ours, misspelt, or shall not lie there.
const PERHAPS_OURS: [(&str, &str); 9] = [
    ("usher.dev/v1alpha1", "Deployment"),
    ("gateway.networking.k8s.io/v1", "Deployment"),
    ("usher.de/v1alpha1", "Guard"),
    ("apps/v1", "AcessPolicy"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("v1", "Servce"),
    ("v1", "Secret"),
    ("v1", "List"),
    ("apps/one", "Deployment"),
];

#[test]
fn of_kustomizes_own_file_nothing_is_said() {
    let text = format!(
        "{SERVICE}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n"
    );
    let parsed = parse(&text);
    assert_eq!(parsed.mistakes, []);
    assert_eq!(parsed.objects.len(), 2);
}

#[test]
fn a_document_that_is_for_others_is_passed_over_with_a_warning() {
    for (version, kind) in FOREIGN {
        let text = format!("{SERVICE}apiVersion: {version}\nkind: {kind}\nspec: {{replicas: 2}}\n");
        let parsed = parse(&text);
        assert!(parsed.unreadable.is_empty(), "{kind}");
        assert_eq!(parsed.objects.len(), 2, "{kind}");
        let [warning] = &parsed.mistakes[..] else {
            panic!("{kind}: {:?}", parsed.mistakes)
        };
        assert_eq!(warning.severity, Severity::Warning, "{kind}");
        assert_eq!((warning.position.line, &*warning.field), (14, "kind"));
        assert!(warning.found.contains(kind), "{warning}");
    }
    for (version, kind) in PERHAPS_OURS {
        let text =
            format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n");
        let parsed = parse(&text);
        assert_eq!(parsed.unreadable.len(), 1, "{version} {kind}");
        assert!(parsed.has_errors(), "{version} {kind}");
    }
}

#[test]
fn a_repeated_key_names_both_places() {
    let parsed = parse(
        "kind: Mesh\napiVersion: usher.dev/v1alpha1\nmetadata: {name: a}\nspec: {}\nkind: Mesh\n",
    );
    let related = parsed.mistakes[0].related.as_ref().expect("two places");
    assert_eq!(
        (parsed.mistakes[0].position.line, related.position.line),
        (5, 1)
    );
}

#[test]
fn a_syntax_error_costs_one_document() {
    let text = format!(
        "{SERVICE}kind: [\n---\napiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: mesh}}\nspec: {{}}\n"
    );
    let parsed = parse(&text);
    assert_eq!(parsed.objects.len(), 3);
    assert_eq!(parsed.mistakes.len(), 1);
    assert_eq!(parsed.unreadable, [PathBuf::from("mesh.yaml")]);
    assert_eq!(parsed.objects[2].line, 15);
}

#[test]
fn an_alias_bomb_and_a_deep_document_are_refused_cheaply() {
    let mut bomb = String::from("a0: &a0 [x, x]\n");
    for level in 1..30 {
        let last = level - 1;
        bomb += &format!("a{level}: &a{level} [*a{last}, *a{last}]\n");
    }
    assert!(parse(&bomb).has_errors());
    assert_eq!(
        said(&parse(&"[".repeat(100))),
        ["1: : nesting deeper than 64"]
    );
    assert_eq!(
        said(&parse(&format!("# {}\n", "x".repeat(1 << 20)))),
        ["1: : a document of more than 1 MiB"]
    );
}

#[test]
fn endless_mistakes_are_counted_not_listed() {
    let fields: String = (0..5000).map(|number| format!("f{number}: 1\n")).collect();
    let parsed = parse(&format!(
        "kind: Mesh\napiVersion: usher.dev/v1alpha1\nmetadata: {{name: a}}\nspec: {{}}\n{fields}"
    ));
    assert_eq!(parsed.mistakes.len(), 201);
}

#[test]
fn a_position_survives_unicode_and_windows_line_ends() {
    let parsed =
        parse("\u{feff}# ümlaut\r\napiVersion: v1\r\nkind: 'Sërvice'\r\nmetadata: {name: a}\r\n");
    assert_eq!(
        (
            parsed.mistakes[0].position.line,
            parsed.mistakes[0].position.column
        ),
        (3, 7)
    );
    assert!(
        parsed
            .render(&parsed.mistakes[0], Colours::Plain)
            .contains("^^^^^^^^^")
    );
}

#[test]
fn a_bare_carriage_return_ends_a_line() {
    let parsed = parse("apiVersion: v1\rkind: Servce\rmetadata: {name: a}\r---\rkind: [\r");
    assert_eq!(parsed.mistakes[0].position.line, 2);
    assert!(
        parsed
            .render(&parsed.mistakes[0], Colours::Plain)
            .contains("2 | kind: Servce\n")
    );
    assert_eq!(parsed.mistakes.len(), 2);
}

#[test]
fn a_directory_is_read_in_order_and_without_hidden_files() {
    let root = tempfile::tempdir().expect("writable");
    let mesh = "{apiVersion: usher.dev/v1alpha1, kind: Mesh, metadata: {name: a}, spec: {}}";
    fs::create_dir_all(root.path().join("b/c")).expect("writable");
    fs::create_dir(root.path().join("..data")).expect("writable");
    for (path, bytes) in [
        ("b/c/mesh.yml", mesh.as_bytes()),
        ("..data/mesh.yaml", mesh.as_bytes()),
        (".hidden.yaml", mesh.as_bytes()),
        ("readme.md", mesh.as_bytes()),
        ("a.yaml", b"\xff\xfe"),
    ] {
        fs::write(root.path().join(path), bytes).expect("writable");
    }
    let parsed = parse_directory(root.path()).expect("readable");
    assert_eq!(said(&parsed), ["1: : bytes that are not UTF-8"]);
    assert_eq!(parsed.unreadable, [root.path().join("a.yaml")]);
    let shown = parsed.render(&parsed.mistakes[0], Colours::Plain);
    assert!(shown.contains("a.yaml"), "{shown}");
    assert_eq!(*parsed.objects[0].file, root.path().join("b/c/mesh.yml"));
    assert!(parse_directory(&root.path().join("none")).is_err());
}

#[test]
fn a_link_to_a_file_or_folder_that_is_not_there_cannot_be_read() {
    let root = tempfile::tempdir().expect("writable");
    let link = |name: &str, to: &str| {
        std::os::unix::fs::symlink(to, root.path().join(name)).expect("writable");
    };
    link("gone.yaml", "../other/mesh.yaml");
    // Not YAML, and an editor's lock.
    link("gone.txt", "nowhere");
    link(".#mesh.yaml", "user@host.1");
    let parsed = parse_directory(root.path()).expect("readable");
    assert_eq!(said(&parsed), ["1: : a link that leads nowhere"]);
    link("policies", "../mesh/policies");
    let parsed = parse_directory(root.path()).expect("readable");
    let files: Vec<_> = parsed.mistakes.iter().map(|one| one.file.clone()).collect();
    let named = ["gone.yaml", "policies"].map(|name| root.path().join(name));
    assert_eq!(files, named);
    assert_eq!(parsed.unreadable, named);
}

#[test]
fn what_cannot_be_looked_at_is_not_taken_for_deleted() {
    for name in ["mesh.yaml", "policies"] {
        let root = tempfile::tempdir().expect("writable");
        // A link to itself is there, and fails with ELOOP as a mount that is away fails with EIO.
        std::os::unix::fs::symlink(name, root.path().join(name)).expect("writable");
        let error = parse_directory(root.path()).expect_err("unknown");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_misses_its_end_and_what_a_tab_indents_is_shown_in_its_own_line() {
    for (text, place, shown) in [
        ("kind: Mesh\nspec: [web\n", "2:10", "spec: [web"),
        ("kind: Mesh\nspec:\n  a: 1\n\tb: 2\n", "4:1", "b: 2"),
    ] {
        let parsed = parse_files(&[(PathBuf::from("mesh.yaml"), text.to_owned())]);
        let [mistake] = &parsed.mistakes[..] else {
            panic!("{:?}", parsed.mistakes)
        };
        let found = format!("{}:{}", mistake.position.line, mistake.position.column);
        assert_eq!(found, place, "{mistake}");
        let rendered = parsed.render(mistake, Colours::Plain);
        assert!(
            rendered.contains("mesh.yaml") && rendered.contains(shown),
            "{rendered}"
        );
    }
}

#[test]
fn a_key_that_was_named_by_mistake_is_not_shown() {
    let parsed = parse("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\n");
    assert!(parsed.has_errors());
    for mistake in &parsed.mistakes {
        let shown = parsed.render(mistake, Colours::Plain);
        assert!(!shown.contains("MIGH"), "{shown}");
    }
}

#[test]
fn what_is_read_again_says_what_it_says_to_whoever_reads_it_for_the_first_time() {
    let root = tempfile::tempdir().expect("writable");
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).expect("writable");
    let mut known = Known::default();
    let mut read = || {
        let again = parse_directory_again(root.path(), &mut known).expect("readable");
        let first = parse_directory(root.path()).expect("readable");
        assert_eq!(said(&again), said(&first));
        assert_eq!(again.sources, first.sources);
        assert_eq!(again.unreadable, first.unreadable);
        assert_eq!(again.rejected, first.rejected);
        let objects = |parsed: &Parsed| -> Vec<Object> {
            let objects = parsed.objects.iter();
            objects.map(|located| located.object.clone()).collect()
        };
        assert_eq!(objects(&again), objects(&first));
        (again.objects.len(), again.mistakes.len())
    };
    write("a.yaml", SERVICE);
    write("b.yaml", "kind: [\r---\rkind: Servce\r");
    assert_eq!(read(), (2, 4));
    // A mistake between objects: the file that has not changed is wrong now.
    write("c.yaml", SERVICE);
    assert_eq!(read(), (2, 6));
    write("b.yaml", "");
    assert_eq!(read(), (2, 2));
    fs::remove_file(root.path().join("a.yaml")).expect("writable");
    assert_eq!(read(), (2, 0));
}

#[test]
fn what_has_its_text_still_is_not_parsed_again() {
    let root = tempfile::tempdir().expect("writable");
    fs::write(root.path().join("a.yaml"), SERVICE).expect("writable");
    let mut known = Known::default();
    let mut read = || parse_directory_again(root.path(), &mut known).expect("readable");
    let (first, second) = (read(), read());
    assert!(Arc::ptr_eq(&first.objects[0], &second.objects[0]));
    fs::write(root.path().join("a.yaml"), format!("# edited\n{SERVICE}")).expect("writable");
    let third = read();
    assert!(!Arc::ptr_eq(&first.objects[0], &third.objects[0]));
}
