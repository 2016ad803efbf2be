//! What a first-time user hears when `usher run` cannot start, or not yet.

use super::{
    bench::{ControlPlane, MESH, Process, output, stderr, stdout, usher, write},
    fake_sidecar::FakeSidecar,
};

const AWAY: &str = r#"{"revision":null,"admission":{"state":"pending"},
    "waitingFor":"control plane 127.0.0.1:15012 does not answer (connection refused)"}"#;

#[test]
fn a_command_is_not_started_before_the_sidecar_is_ready_and_the_user_hears_why() {
    let sidecar = FakeSidecar::new("");
    write(&sidecar.home.path().join("standing"), AWAY);
    let flag = sidecar.home.path().join("flag");
    let patience = ["--ready-timeout", "1500ms"];
    let touch = ["touch", flag.to_str().expect("path")];
    let failed = output(&mut sidecar.run_with(&patience, &touch));
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(69), "{said}");
    assert!(
        said.matches("127.0.0.1:15012 does not answer").count() >= 2,
        "while waiting, and at the end: {said}"
    );
    assert!(said.contains("--ready-timeout"), "{said}");
    assert!(!flag.exists(), "the command was started");
    assert_eq!(sidecar.asked(), ["POST /quit HTTP/1.1"]);
}

#[test]
fn an_identity_that_may_not_be_the_service_is_refused_and_forgotten() {
    let sidecar = FakeSidecar::new("touch $state/identity.json");
    let standing = r#"{"revision":3,"admission":{"state":"refused",
        "reason":"spiffe://m/ns/bank/sa/web may not be service bank/account"}}"#;
    write(&sidecar.home.path().join("standing"), standing);
    let flag = sidecar.home.path().join("flag");
    let refused = output(&mut sidecar.run(&["touch", flag.to_str().expect("path")]));
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(69), "{said}");
    for part in ["sa/web", "bank/account", "usher token create", "--service"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(!flag.exists(), "the command was started");
    let identity = "usher/run/bank.account/identity.json";
    assert!(!sidecar.home.path().join(identity).exists());
}

#[test]
fn a_sidecars_last_words_are_shown() {
    let words =
        r#"{"code":71,"reason":"cannot listen on 127.0.0.1:80 (--metrics): Address in use"}"#;
    let sidecar = FakeSidecar::new(&format!("echo '{words}' > $state/exit.json; exit 71"));
    let failed = output(&mut sidecar.run(&["true"]));
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(71), "{said}");
    for part in ["127.0.0.1:80 (--metrics)", "port 0"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn quiet_silences_the_sidecars_log_too_unless_the_user_set_its_filter() {
    for (quiet, set, expected) in [
        (false, None, "filter=\n"),
        (true, None, "filter=warn\n"),
        (true, Some("debug"), "filter=debug\n"),
    ] {
        let sidecar = FakeSidecar::new("");
        let flags: &[&str] = if quiet { &["-q"] } else { &[] };
        let mut run = sidecar.run_with(flags, &["true"]);
        if let Some(filter) = set {
            run.env("USHER_LOG", filter);
        }
        let ran = output(&mut run);
        assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
        assert_eq!(sidecar.read("environment"), expected);
        assert_eq!(stderr(&ran).is_empty(), quiet, "{}", stderr(&ran));
    }
}

#[test]
fn a_token_file_that_everybody_can_read_is_warned_of() {
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        let sidecar = FakeSidecar::new("");
        let mut run = sidecar.run(&["true"]);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(sidecar.home.path().join("given"), mode).expect("ours");
        let ran = output(&mut run);
        assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
        assert_eq!(
            stderr(&ran).contains("chmod 600"),
            warned,
            "{}",
            stderr(&ran)
        );
    }
}

#[test]
fn a_token_that_was_not_needed_is_said_to_be() {
    for (kept, said) in [(true, true), (false, false)] {
        let sidecar = FakeSidecar::new("");
        let standing = serde_json::json!({
            "revision": 3, "identity": "spiffe://m/ns/bank/sa/account", "identityKept": kept,
            "notices": ["port 1: nobody is there"],
        });
        write(&sidecar.home.path().join("standing"), &standing.to_string());
        let ran = output(&mut sidecar.run(&["true"]));
        assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
        let words = "spiffe://m/ns/bank/sa/account is the identity of an earlier run; the token in";
        assert_eq!(stderr(&ran).contains(words), said, "{}", stderr(&ran));
        let lines = stderr(&ran);
        let at = |part: &str| lines.find(part).expect("told");
        assert!(at("nobody is there") < at("started true"), "{lines}");
    }
}

fn without_token(
    home: &std::path::Path,
    sidecar: &FakeSidecar,
    service: [&str; 2],
) -> std::process::Command {
    let [namespace, name] = service;
    let mut run = usher(home);
    run.args([
        "run",
        "--namespace",
        namespace,
        "--service",
        name,
        "--proxy",
    ])
    .arg(sidecar.program());
    run
}

#[test]
fn a_control_plane_that_starts_together_with_it_is_waited_for() {
    let home = tempfile::tempdir().expect("writable");
    write(&home.path().join("mesh/mesh.yaml"), MESH);
    let sidecar = FakeSidecar::new("");
    let mut run = without_token(home.path(), &sidecar, ["bank", "account"]);
    let run = Process::start(run.args(["--", "true"]));
    let _plane = ControlPlane::start_in(home);
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("joining as bank/account"), "{said}");
    // An identity of another account, from before, is not what was asked for.
    let told = sidecar.read("arguments");
    assert!(told.contains("--service-account account"), "{told}");
}

#[test]
fn without_a_control_plane_the_wait_ends() {
    let home = tempfile::tempdir().expect("writable");
    let sidecar = FakeSidecar::new("");
    let mut run = without_token(home.path(), &sidecar, ["bank", "account"]);
    let failed = output(run.args(["--ready-timeout", "2s", "--", "true"]));
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(69), "{said}");
    assert!(
        said.contains("waiting up to 2s") && said.contains("usher serve"),
        "{said}"
    );
    // Nothing is left of what has never begun.
    assert!(!home.path().join("usher/run/bank.account").exists());
}

#[test]
fn who_names_a_control_plane_elsewhere_hears_that_it_takes_a_token() {
    let home = tempfile::tempdir().expect("writable");
    let sidecar = FakeSidecar::new("");
    let mut run = without_token(home.path(), &sidecar, ["bank", "account"]);
    run.args(["--control-plane", "elsewhere.invalid:15012"]);
    let failed = output(run.args(["--ready-timeout", "2s", "--", "true"]));
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(69), "{said}");
    let wanted = "no --token-file to join at elsewhere.invalid:15012 with";
    assert_eq!(said.matches(wanted).count(), 2, "{said}");
}

#[test]
fn an_unknown_service_or_account_is_answered_with_the_near_names() {
    let plane = ControlPlane::start(MESH);
    let sidecar = FakeSidecar::new("");
    for (service, words) in [
        (["bank", "acount"], &["did you mean account?"][..]),
        (
            ["default", "account"],
            &["namespace default, but in bank", "--namespace"],
        ),
    ] {
        let mut run = without_token(plane.home.path(), &sidecar, service);
        let refused = output(run.args(["--", "true"]));
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(69), "{said}");
        for part in words {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }
    let create = [
        "token",
        "create",
        "--namespace",
        "bank",
        "--service-account",
    ];
    let made = output(plane.usher().args(create).arg("acount"));
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert!(stdout(&made).starts_with("usher1."));
    assert!(
        stderr(&made).contains("did you mean account?"),
        "{}",
        stderr(&made)
    );
    let known = output(plane.usher().args(create).arg("account"));
    assert_eq!(stderr(&known), "");
}

#[test]
fn workloads_that_only_call_are_no_services_without_instances() {
    let caller = "---\napiVersion: usher.dev/v1alpha1\nkind: Workload\n\
                  metadata: { name: teller, namespace: bank }\nspec: { serviceAccount: teller }\n";
    let plane = ControlPlane::start(&format!("{MESH}{caller}"));
    let services = stdout(&output(plane.usher().arg("services")));
    let row = services.lines().find(|line| line.contains("teller"));
    let row: Vec<&str> = row.expect("listed").split_whitespace().collect();
    assert_eq!(
        row,
        ["bank", "teller", "only", "calls", "-", "-", "bank/teller"]
    );
    let status = stdout(&output(plane.usher().arg("status")));
    assert!(
        status.contains("0/1 ready") && status.contains("and 1 that only calls"),
        "{status}"
    );
    assert!(!status.contains("bank/teller"), "{status}");
    let nowhere = output(plane.usher().args(["services", "--namespace", "bnak"]));
    let said = stderr(&nowhere);
    assert_eq!(nowhere.status.code(), Some(64), "{said}");
    assert!(
        said.contains("known namespaces: bank") && said.contains("did you mean bank?"),
        "{said}"
    );
}

#[test]
fn the_caller_of_the_quickstart_is_not_said_to_lack_an_instance() {
    let quickstart = include_str!("../../../config/examples/quickstart/services.yaml");
    let plane = ControlPlane::start(&format!("{MESH}---\n{quickstart}"));
    let status = stdout(&output(plane.usher().arg("status")));
    assert!(
        status.contains("and 1 that only calls") && !status.contains("default/web"),
        "{status}"
    );
}

#[test]
fn a_target_that_is_not_there_is_listed_once() {
    let policy = "---\napiVersion: usher.dev/v1alpha1\nkind: TrafficPolicy\n\
                  metadata: { name: slow, namespace: bank }\nspec:\n  \
                  targetRefs: [{ group: \"\", kind: Service, name: nobody }]\n  timeouts: { request: 2s }\n";
    let plane = ControlPlane::start(&format!("{MESH}{policy}"));
    let status = stdout(&output(plane.usher().arg("status")));
    assert_eq!(
        status.matches("TrafficPolicy bank/slow").count(),
        1,
        "{status}"
    );
    assert!(
        status.contains("nobody") && status.contains("mesh.yaml:"),
        "{status}"
    );
}
