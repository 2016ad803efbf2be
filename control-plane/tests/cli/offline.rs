//! What the command line says without a control plane.

use super::bench::{MESH, output, stderr, stdout, usher, write};

#[test]
fn every_verb_explains_itself_with_examples_and_exit_codes() {
    let home = tempfile::tempdir().expect("writable");
    for verb in [
        &["serve"][..],
        &["run"],
        &["validate"],
        &["apply"],
        &["status"],
        &["get"],
        &["services"],
        &["instances"],
        &["watch"],
        &["token", "create"],
        &["route", "test"],
        &["authz", "check"],
        &["explain"],
        &["diff"],
        &["wait"],
        &["history"],
        &["rollback"],
    ] {
        let help = output(usher(home.path()).args(verb).arg("--help"));
        let text = stdout(&help);
        assert_eq!(help.status.code(), Some(0), "{verb:?}");
        assert!(
            text.contains("Examples:") && text.contains("Exit codes:"),
            "{verb:?}: {text}"
        );
        assert!(text.contains("--json"), "{verb:?}");
    }
}

#[test]
fn a_usage_line_says_what_is_taken() {
    let home = tempfile::tempdir().expect("writable");
    for (verb, lines) in [
        (
            &["route", "test"][..],
            &[
                "usher route test [OPTIONS] --config <PATH> --from <WHO> [METHOD] <URL>",
                "usher route test [OPTIONS] --config <PATH> --gateway <GATEWAY> [METHOD] <URL>",
            ][..],
        ),
        (
            &["explain"],
            &[
                "usher explain [OPTIONS] --config <PATH> [KIND] <NAME>",
                "usher explain [OPTIONS] --config <PATH> <KIND>/<NAME>",
            ],
        ),
        (
            &["get"],
            &["usher get [OPTIONS] [KIND | KIND/NAME | KIND NAME]"],
        ),
        (
            &["rollback"],
            &[
                "usher rollback [OPTIONS] <REVISION>",
                "usher rollback [OPTIONS] --release",
            ],
        ),
    ] {
        let help = output(usher(home.path()).args(verb).arg("--help"));
        let wrong = output(usher(home.path()).args(verb).args(["a", "b", "c", "d"]));
        assert_eq!(wrong.status.code(), Some(64));
        for line in lines {
            for text in [stdout(&help), stderr(&wrong)] {
                assert!(text.contains(line), "{line}: {text}");
            }
        }
    }
}

#[test]
fn a_wrong_command_line_exits_64() {
    let home = tempfile::tempdir().expect("writable");
    for arguments in [
        &["serv"][..],
        &["run", "--service", "web"],
        &["run", "--service", "Web", "--", "true"],
        &[
            "run",
            "--service=web",
            "--port=8080",
            "--inbound=127.0.0.1:8080",
            "--",
            "true",
        ],
        &["token", "create", "--namespace", "bank"],
        &["serve", "--config", "/nonexistent"],
        &["serve", "--config", ".", "--store", "etcd://127.0.0.1:1"],
        &["serve", "--config", ".", "--trust-domain", "a.b"],
        &["serve", "--store", "redis://127.0.0.1:1"],
        &["serve", "--etcd-user", "me"],
        &["apply"],
        &["status", "--server", "foo"],
        &["status", "--server", "https://127.0.0.1:15010"],
        &["services", "--server", "http://127.0.0.1:0"],
    ] {
        let wrong = output(usher(home.path()).args(arguments));
        assert_eq!(
            wrong.status.code(),
            Some(64),
            "{arguments:?}: {}",
            stderr(&wrong)
        );
    }
}

#[test]
fn what_a_flag_cannot_be_is_said_with_what_it_can_be() {
    let home = tempfile::tempdir().expect("writable");
    let token = ["token", "create", "--service-account", "web"];
    let run = ["run", "--service", "web", "--zone", "", "--", "true"];
    let serve = |more: &[&'static str]| [&["serve", "--config", "."], more].concat();
    let itself = "--dns-forward: found 127.0.0.1:7, which is --dns";
    for (arguments, words) in [
        (
            serve(&["--listen", "127.0.0.1:7", "--dns", "127.0.0.1:7"]),
            "--listen and --dns are both 127.0.0.1:7",
        ),
        (
            serve(&["--dns", "127.0.0.1:7", "--dns-forward", "127.0.0.1:7"]),
            itself,
        ),
        (
            serve(&["--dns-forward", "localhost"]),
            "'--dns-forward <ADDR,...>': allowed: `off`, or addresses",
        ),
        (
            [&token, &["--uses", "0"][..]].concat(),
            "'--uses <N>': allowed: a number from 1",
        ),
        (
            [&token, &["--uses", "many"][..]].concat(),
            "'--uses <N>': allowed: a number from 1",
        ),
        (
            run.to_vec(),
            "'--zone <NAME>': allowed: 1-63 printable characters",
        ),
        (
            vec!["gateway", "--name", "edge", "--zone", ""],
            "'--zone <NAME>': allowed: 1-63",
        ),
        (
            serve(&["--listen", "127.0.0.1:7", "--http", "127.0.0.1:7"]),
            "--listen and --http are both 127.0.0.1:7",
        ),
        (vec!["rnu"], "'run'"),
    ] {
        let wrong = output(usher(home.path()).args(&arguments));
        let said = stderr(&wrong);
        assert_eq!(wrong.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn nobody_there_says_where_and_how_to_start_one() {
    let home = tempfile::tempdir().expect("writable");
    for verb in ["status", "services"] {
        let alone = output(usher(home.path()).args([verb, "--server", "http://127.0.0.1:1"]));
        let said = stderr(&alone);
        assert_eq!(alone.status.code(), Some(69), "{said}");
        assert!(
            said.contains("http://127.0.0.1:1") && said.contains("usher serve"),
            "{said}"
        );
    }
    let create = [
        "token",
        "create",
        "--namespace",
        "bank",
        "--service-account",
        "account",
    ];
    let alone = output(usher(home.path()).args(create));
    assert_eq!(alone.status.code(), Some(69));
    assert!(
        stderr(&alone).contains("operator.sock"),
        "{}",
        stderr(&alone)
    );
}

#[test]
fn good_files_are_summed_up() {
    let home = tempfile::tempdir().expect("writable");
    write(&home.path().join("mesh/deeper/mesh.yaml"), MESH);
    let checked = output(
        usher(home.path())
            .arg("validate")
            .arg(home.path().join("mesh")),
    );
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let said = stdout(&checked);
    assert!(
        said.contains("ok: 3 good objects") && said.contains("in 1 file"),
        "{said}"
    );
}

#[test]
fn what_only_warns_passes_unless_it_is_to_be_strict() {
    let home = tempfile::tempdir().expect("writable");
    let file = home.path().join("mesh.yaml");
    write(
        &file,
        &MESH.replace("selector: { app: account", "selector: { app: acount"),
    );
    let check = |strict: &[&str]| {
        let checked = output(usher(home.path()).arg("validate").args(strict).arg(&file));
        assert!(stdout(&checked).contains("warning"), "{}", stdout(&checked));
        checked.status.code()
    };
    assert_eq!(check(&[]), Some(0));
    assert_eq!(check(&["--strict"]), Some(1));
    assert_eq!(check(&["--strict", "--json"]), Some(1));
}

#[test]
fn all_mistakes_of_all_files_come_in_one_pass() {
    let home = tempfile::tempdir().expect("writable");
    let directory = home.path().join("mesh");
    let wrong = MESH
        .replace("selector", "selecter")
        .replace("50051", "500510");
    write(&directory.join("a.yaml"), &wrong);
    write(&directory.join("b.yaml"), "kind: Servise\napiVersion: v1\n");
    let checked = output(usher(home.path()).arg("validate").arg(&directory));
    let said = stderr(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    for part in [
        "a.yaml:10:3",
        "selecter",
        "500510",
        "b.yaml",
        "Servise",
        "^",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let checked = output(
        usher(home.path())
            .args(["validate", "--json"])
            .arg(&directory),
    );
    let document: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(document["ok"], false);
    let mistakes = document["mistakes"].as_array().expect("an array");
    assert!(mistakes.len() >= 3, "{document:#}");
    assert!(
        mistakes
            .iter()
            .any(|mistake| mistake["line"] == 10 && mistake["column"] == 3)
    );
}

#[test]
fn two_policies_for_one_target_are_a_mistake_in_both_places() {
    let home = tempfile::tempdir().expect("writable");
    let policy = |name: &str| {
        format!(
            "---\napiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\n\
             metadata: {{ name: {name}, namespace: bank }}\n\
             spec:\n  targetRefs: [{{ group: \"\", kind: Service, name: account }}]\n  \
             timeouts: {{ request: 2s }}\n"
        )
    };
    let file = home.path().join("mesh.yaml");
    write(&file, &[MESH, &policy("first"), &policy("second")].concat());
    let checked = output(usher(home.path()).arg("validate").arg(&file));
    let said = stderr(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    for part in ["mesh.yaml:22:", "mesh.yaml:29:", "the other policy"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn a_fallback_that_would_come_too_late_is_a_warning() {
    let home = tempfile::tempdir().expect("writable");
    let policy = "---\napiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\n\
        metadata: { name: account, namespace: bank }\n\
        spec:\n  targetRefs: [{ kind: Service, name: account }]\n  \
        fallback: { when: [Exhausted], response: {} }\n";
    let file = home.path().join("mesh.yaml");
    write(&file, &[MESH, policy].concat());
    let checked = output(usher(home.path()).arg("validate").arg(&file));
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    assert!(stderr(&checked).contains("timeouts.backendRequest is not set"));
    assert!(
        stdout(&checked).contains("1 warning:"),
        "{}",
        stdout(&checked)
    );
    let checked = output(usher(home.path()).args(["validate", "--json"]).arg(&file));
    assert_eq!(checked.status.code(), Some(0));
    let document: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(document["warnings"], 1);
    assert_eq!(document["conditions"][0]["reason"], "LateFallback");
}

#[test]
fn a_broken_first_access_policy_says_what_it_closes() {
    let home = tempfile::tempdir().expect("writable");
    let policy = "---\napiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\n\
        metadata: { name: account, namespace: bank }\n\
        spec:\n  targetRefs: [{ kind: Servce, name: account }]\n";
    let file = home.path().join("mesh.yaml");
    write(&file, &[MESH, policy].concat());
    let checked = output(usher(home.path()).arg("validate").arg(&file));
    let said = stderr(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(
        said.contains("every request to namespace bank is refused"),
        "{said}"
    );
}

#[test]
fn a_check_that_has_checked_nothing_does_not_pass() {
    let home = tempfile::tempdir().expect("writable");
    let checked = output(usher(home.path()).arg("validate").arg(home.path()));
    assert_eq!(checked.status.code(), Some(64), "{}", stderr(&checked));
    assert!(stderr(&checked).contains("*.yaml"), "{}", stderr(&checked));
}

#[test]
fn a_named_data_directory_is_never_answered_for_by_another_mesh() {
    let home = tempfile::tempdir().expect("writable");
    for verb in ["status", "services"] {
        let asked = output(usher(home.path()).arg(verb).arg("--data").arg(home.path()));
        assert_eq!(asked.status.code(), Some(69), "{}", stderr(&asked));
        assert!(
            stderr(&asked).contains("no control plane runs on the data directory"),
            "{}",
            stderr(&asked)
        );
    }
}
