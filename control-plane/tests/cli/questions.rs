//! Questions that files answer.

use super::bench::{MESH, output, stderr, stdout, usher, write};

/// A mesh in which `account` may call itself only.
const GUARDED: &str = "---
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: { name: account, namespace: bank }
spec:
  targetRefs: [{ kind: Service, name: account }]
  rules: [{ from: { serviceAccounts: [account] } }, { from: { claims: [{ claim: groups, values: [admin] }] } }]
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: stranger, namespace: bank }
spec: { serviceAccount: stranger }
";

/// Whose tokens' claims count there.
const LOGIN: &str = "---
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: { name: account, namespace: bank }
spec:
  targetRefs: [{ kind: Service, name: account }]
  mode: Optional
  jwt: [{ issuer: i, audiences: [a], jwks: { uri: 'https://login.test/keys' } }]
";

/// Words, exit code, and what is said.
const QUESTIONS: [(&str, i32, &str); 29] = [
    (
        "authz check --from stranger --to account --claim groups=user --claim groups=admin",
        0,
        "allows by spec.rules[1]",
    ),
    (
        "authz check --from stranger --to account --claim groups=user",
        1,
        "`from.claims` asks for what the token does not say",
    ),
    (
        "authz check --from stranger --to account --claim groups",
        64,
        "allowed: NAME=VALUE",
    ),
    (
        "authz check --from spiffe://evil.example/ns/bank/sa/account --to account",
        64,
        "another trust domain",
    ),
    (
        "authz check --from account --to account",
        0,
        "allows by spec.rules[0]",
    ),
    (
        "authz check --from stranger --to account",
        1,
        "`from` does not have",
    ),
    (
        "authz check --from outside --to account",
        1,
        "mtls.mode is Strict",
    ),
    (
        "authz check --from strangr --to account",
        64,
        "did you mean bank/stranger?",
    ),
    (
        "authz check --from stranger --to acount",
        64,
        "did you mean bank/account?",
    ),
    (
        "authz check --from stranger --to account --port 1",
        64,
        "allowed: 50051",
    ),
    (
        "authz check --from account --to account --path /a%2Fb",
        1,
        "path is ambiguous: 400, flag DPE",
    ),
    (
        "authz check --from account --to account --path /a;b",
        1,
        "path has parameters (`;`)",
    ),
    (
        "authz check --from outside --to account --path /a;b",
        1,
        "mtls.mode is Strict",
    ),
    (
        "authz check --from account --to account --path /a?x=1",
        0,
        "left out: ?x=1: no policy looks at a query",
    ),
    (
        "authz check --from account --to account --path a",
        64,
        "--path: found `a`, allowed: /, or such as /v1/orders",
    ),
    (
        "route test --from account http://account:50051/",
        0,
        "ok bank/account:50051",
    ),
    ("route test --from stranger account:50051/", 1, "403 (AZ)"),
    (
        "route test --from account http://acount/",
        1,
        "did you mean bank/account?",
    ),
    (
        "route test --from account https://account/",
        64,
        "say http://",
    ),
    (
        "route test --from account -H host:x account/",
        64,
        "the host is the one of the URL",
    ),
    (
        "route test --gateway edge http://account/",
        64,
        "nor any other",
    ),
    ("explain account", 0, "AccessPolicy bank/account"),
    ("explain bank/account", 0, "Service bank/account"),
    ("explain Service/account", 0, "Service bank/account"),
    ("explain service/bank/account", 0, "Service bank/account"),
    (
        "explain HTTPRoute/account",
        64,
        "there is no HTTPRoute `account`",
    ),
    ("explain HTPRoute/account", 64, "did you mean HTTPRoute?"),
    (
        "explain HTTPRoute account",
        64,
        "there is no HTTPRoute `account`",
    ),
    ("explain Servce account", 64, "did you mean Service?"),
];

#[test]
fn questions_about_files_are_answered_by_exit_codes_too() {
    let home = tempfile::tempdir().expect("writable");
    let file = home.path().join("mesh.yaml");
    write(&file, &[MESH, GUARDED, LOGIN].concat());
    let ask = |words: &str| {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend(["--config", file.to_str().expect("UTF-8")]);
        let said = output(usher(home.path()).args(&words));
        (said.status.code(), stdout(&said) + &stderr(&said))
    };
    for (words, code, part) in QUESTIONS {
        let (found, said) = ask(words);
        assert_eq!(found, Some(code), "{words}: {said}");
        assert!(said.contains(part), "{words}: {part} is not in: {said}");
    }
}

#[test]
fn an_answer_from_files_with_mistakes_says_so() {
    let home = tempfile::tempdir().expect("writable");
    let file = home.path().join("mesh.yaml");
    write(
        &file,
        &[
            MESH,
            "---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {portz: 1}\n",
        ]
        .concat(),
    );
    let mut explain = usher(home.path());
    let said = output(
        explain
            .args(["explain", "account", "--json", "--config"])
            .arg(&file),
    );
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    assert!(
        stderr(&said).contains("usher validate shows it"),
        "{}",
        stderr(&said)
    );
    let document: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(document["object"], "Service bank/account");
}

#[test]
fn two_configurations_are_compared_without_a_control_plane() {
    let home = tempfile::tempdir().expect("writable");
    let (old, new) = (home.path().join("old.yaml"), home.path().join("new.yaml"));
    write(&old, MESH);
    write(&new, &[MESH, GUARDED].concat());
    let diff = |of: &std::path::Path| {
        let mut diff = usher(home.path());
        let said = output(diff.arg("diff").arg(of).arg("--against").arg(&old));
        (said.status.code(), stdout(&said) + &stderr(&said))
    };
    let (code, said) = diff(&new);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "+ AccessPolicy bank/account",
        "+ Workload bank/stranger",
        "instances of bank/account (access)",
        "instances of bank/stranger (added)",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let (code, said) = diff(&old);
    assert_eq!((code, said.as_str()), (Some(0), "nothing would change\n"));
}

#[test]
fn what_cannot_be_read_might_close_something_and_is_no_answer() {
    let home = tempfile::tempdir().expect("writable");
    let mesh = home.path().join("mesh");
    write(&mesh.join("mesh.yaml"), MESH);
    write(&mesh.join("policy.yaml"), "kind: AccessPolicy\nspec: [\n");
    for verb in [
        &["authz", "check", "--from", "account", "--to", "account"][..],
        &[
            "route",
            "test",
            "--from",
            "account",
            "http://account:50051/",
        ],
        &["explain", "account"],
    ] {
        let said = output(usher(home.path()).args(verb).arg("--config").arg(&mesh));
        assert_eq!(said.status.code(), Some(1), "{verb:?}: {}", stdout(&said));
        let why = stderr(&said);
        assert!(why.contains("policy.yaml cannot be read as YAML"), "{why}");
    }
}

#[test]
fn what_decided_is_said_once() {
    let home = tempfile::tempdir().expect("writable");
    let mesh = home.path().join("mesh");
    let policy = "---\napiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: account, namespace: bank }\n\
                  spec:\n  targetRefs: [{ kind: Service, group: '', name: account }]\n  \
                  rules: [{ from: { serviceAccounts: [account] } }]\n";
    write(&mesh.join("mesh.yaml"), &format!("{MESH}{policy}"));
    let mut asked = usher(home.path());
    asked.args(["authz", "check", "--from", "account", "--to", "account"]);
    let said = output(asked.arg("--config").arg(&mesh));
    let told = stdout(&said);
    assert_eq!(said.status.code(), Some(0), "{told}");
    let deciding = told.matches("allows by spec.rules[0]").count();
    assert_eq!(deciding, 1, "{told}");
}

#[test]
fn claims_that_nobody_verifies_are_unknown_and_said_to_be() {
    let home = tempfile::tempdir().expect("writable");
    let file = home.path().join("mesh.yaml");
    write(&file, &[MESH, GUARDED].concat());
    let claims = ["--claim", "groups=admin", "--config"];
    for (words, code) in [
        ("authz check --from account --to account", 0),
        ("authz check --from stranger --to account", 1),
        ("route test --from stranger http://account:50051/", 1),
    ] {
        let words = words.split(' ').chain(claims);
        let said = output(usher(home.path()).args(words).arg(&file));
        let told = stdout(&said);
        assert_eq!(said.status.code(), Some(code), "{told}{}", stderr(&said));
        let why = "left out: claims: no AuthenticationPolicy holds for bank/account";
        assert!(told.contains(why), "{told}");
    }
}
