//! `usher run` beside a sidecar that is only a script: what it starts, in which order it ends things.

use std::fs;

use nix::sys::signal::Signal;

use super::{
    bench::{ControlPlane, MESH, Process, eventually, output, stderr, usher, write},
    fake_sidecar::FakeSidecar,
};

#[test]
fn the_command_gets_the_sidecar_in_its_environment_and_its_code_is_ours() {
    let sidecar = FakeSidecar::new("");
    let show = "echo $HOST $PORT $http_proxy $no_proxy $USHER_OUTBOUND ${HTTP_PROXY-none}; exit 7";
    let ran = output(
        sidecar
            .run(&["sh", "-c", show])
            .env("HTTP_PROXY", "http://elsewhere:1"),
    );
    assert_eq!(ran.status.code(), Some(7), "{}", stderr(&ran));
    let expected =
        "127.0.0.1 8080 http://127.0.0.1:15001 localhost,127.0.0.1 127.0.0.1:15001 none\n";
    assert_eq!(String::from_utf8_lossy(&ran.stdout), expected);
    let arguments = sidecar.read("arguments");
    for part in [
        "--service account",
        "--namespace bank",
        "--application-port 8080",
    ] {
        assert!(arguments.contains(part), "{arguments}");
    }
    assert!(stderr(&ran).contains("revision 3"), "{}", stderr(&ran));
    assert_eq!(
        sidecar.asked(),
        ["POST /drain?grace=1s HTTP/1.1", "POST /quit HTTP/1.1"]
    );
}

#[test]
fn a_local_port_that_the_system_chose_is_told() {
    let tcp = "s/}$/,\"tcp\":[\"127.0.0.1:41001\",\"127.0.0.1:6379\"]}/";
    let sidecar = FakeSidecar::new(&format!("sed -i '{tcp}' $state/new"));
    let flags = [
        "--tcp",
        "127.0.0.1:0=db.shop:5432",
        "--tcp",
        "127.0.0.1:6379=cache:6379",
    ];
    let ran = output(&mut sidecar.run_with(&flags, &["true"]));
    let said = stderr(&ran);
    let listens = "metrics http://127.0.0.1:15020/metrics, 127.0.0.1:41001 to db.shop:5432, 127.0.0.1:6379 to cache:6379";
    assert!(said.contains(listens), "{said}");
}

#[test]
fn a_signal_drains_first_then_reaches_the_command_then_ends_the_sidecar() {
    let sidecar = FakeSidecar::new("");
    let flag = sidecar.home.path().join("flag");
    let script = format!(
        "trap 'exit 5' TERM; touch {}; while :; do sleep 0.01; done",
        flag.display()
    );
    let run = Process::start(&mut sidecar.run(&["sh", "-c", &script]));
    eventually("the command to start", || flag.exists().then_some(()));
    run.signal(Signal::SIGTERM);
    let (code, said) = run.end();
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(
        sidecar.asked(),
        ["POST /drain?grace=10s HTTP/1.1", "POST /quit HTTP/1.1"]
    );
}

#[test]
fn a_command_that_a_signal_ended_exits_with_128_and_its_number() {
    let sidecar = FakeSidecar::new("");
    let ran = output(&mut sidecar.run(&["sh", "-c", "kill -9 $$"]));
    assert_eq!(ran.status.code(), Some(137), "{}", stderr(&ran));
}

#[test]
fn a_command_that_ignores_its_signal_is_killed_by_the_second() {
    let sidecar = FakeSidecar::new("");
    let flag = sidecar.home.path().join("flag");
    let script = format!(
        "trap '' TERM; touch {}; while :; do sleep 0.01; done",
        flag.display()
    );
    let run = Process::start(&mut sidecar.run(&["sh", "-c", &script]));
    eventually("the command to start", || flag.exists().then_some(()));
    run.signal(Signal::SIGTERM);
    eventually("the drain", || (!sidecar.asked().is_empty()).then_some(()));
    run.signal(Signal::SIGTERM);
    let (code, said) = run.end();
    assert_eq!(code, Some(137), "{said}");
}

#[test]
fn a_sidecar_that_ends_takes_the_command_with_it() {
    let sidecar = FakeSidecar::new("");
    let flag = sidecar.home.path().join("flag");
    let script = format!("touch {}; exec sleep 60", flag.display());
    let run = Process::start(&mut sidecar.run(&["sh", "-c", &script]));
    eventually("the command to start", || flag.exists().then_some(()));
    fs::write(sidecar.home.path().join("quit"), "now\n").expect("writable");
    let (code, said) = run.end();
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("the sidecar ended"), "{said}");
}

#[test]
fn a_sidecar_that_fails_at_start_is_explained() {
    for (sidecar_code, words) in [
        (69, "refused this workload"),
        (71, "this machine"),
        (78, "127.0.0.1"),
        (3, "3"),
    ] {
        let sidecar = FakeSidecar::new(&format!("echo reason-of-it >&2; exit {sidecar_code}"));
        let log = sidecar.home.path().join("sidecar.log");
        let mut run = usher(sidecar.home.path());
        run.args(["run", "--service", "account", "--token-file", "/dev/null"])
            .arg("--proxy")
            .arg(sidecar.program())
            .arg("--proxy-log")
            .arg(&log)
            .args(["--", "true"]);
        let failed = output(&mut run);
        let expected = if sidecar_code == 3 { 70 } else { sidecar_code };
        assert_eq!(failed.status.code(), Some(expected), "{}", stderr(&failed));
        let said = stderr(&failed);
        assert!(
            said.contains(words) && said.contains("reason-of-it"),
            "{said}"
        );
    }
}

#[test]
fn missing_commands_and_programs_are_said_before_anything_starts() {
    let sidecar = FakeSidecar::new("");
    let missing = output(&mut sidecar.run(&["no-such-command-anywhere"]));
    assert_eq!(missing.status.code(), Some(127), "{}", stderr(&missing));
    let directory = sidecar.home.path().display().to_string();
    let not_executable = output(&mut sidecar.run(&[&directory]));
    assert_eq!(
        not_executable.status.code(),
        Some(126),
        "{}",
        stderr(&not_executable)
    );
    assert!(!sidecar.home.path().join("arguments").exists());
}

#[test]
fn without_a_token_file_it_asks_the_control_plane_here_for_one() {
    let plane = ControlPlane::start(MESH);
    let sidecar = FakeSidecar::new("");
    let mut run = plane.usher();
    run.args([
        "run",
        "--service",
        "account",
        "--namespace",
        "bank",
        "--proxy",
    ])
    .arg(sidecar.program())
    .args(["--", "true"]);
    let ran = output(&mut run);
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    assert!(
        stderr(&ran).contains("joining as bank/account"),
        "{}",
        stderr(&ran)
    );
    let token = sidecar.read("token");
    assert!(token.starts_with("usher1."));
    assert!(
        !sidecar.read("arguments").contains("usher1."),
        "a secret in argv is in `ps`"
    );
    assert!(!stderr(&ran).contains(&token));
    let file = plane.data().join("run/bank.account/join-token");
    assert!(!file.exists(), "a spent token is of use to nobody");
    let caller = MESH.replace(
        "name: account, namespace: bank, labels",
        "name: teller, namespace: bank, labels",
    );
    write(
        &plane.home.path().join("mesh/teller.yaml"),
        caller.rsplit("---").next().expect("one"),
    );
    eventually("a Workload behind no service", || {
        let mut run = plane.usher();
        run.args([
            "run",
            "--service",
            "teller",
            "--namespace",
            "bank",
            "--proxy",
        ])
        .arg(sidecar.program())
        .args(["--", "true"]);
        output(&mut run).status.success().then_some(())
    });
    let mut unknown = plane.usher();
    unknown
        .args([
            "run",
            "--service",
            "ledger",
            "--namespace",
            "bank",
            "--proxy",
        ])
        .arg(sidecar.program())
        .args(["--", "true"]);
    let unknown = output(&mut unknown);
    assert!(
        stderr(&unknown).contains("Workload"),
        "{}",
        stderr(&unknown)
    );
}

#[test]
fn two_instances_of_a_service_do_not_share_a_state_directory() {
    let (first, second) = (FakeSidecar::new(""), FakeSidecar::new(""));
    let flag = first.home.path().join("flag");
    let script = format!("touch {}; exec sleep 60", flag.display());
    let run = Process::start(&mut first.run(&["sh", "-c", &script]));
    eventually("the command to start", || flag.exists().then_some(()));
    let mut other = second.run(&["true"]);
    let ran = output(other.env("XDG_STATE_HOME", first.home.path()));
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    assert!(
        second.read("arguments").contains("run/bank.account-2"),
        "{}",
        second.read("arguments")
    );
    run.signal(Signal::SIGINT);
    assert_eq!(run.end().0, Some(130));
}

#[test]
fn a_run_that_is_killed_leaves_neither_command_nor_sidecar_behind() {
    let gone = "trap 'touch $USHER_TEST_HOME/sidecar-gone; exit' TERM; touch $USHER_TEST_HOME/sidecar; \
                mv $state/new $state/addresses.json; while :; do sleep 0.01; done";
    let sidecar = FakeSidecar::new(gone);
    let home = sidecar.home.path();
    let script = "trap 'touch $USHER_TEST_HOME/command-gone; exit' TERM; touch $USHER_TEST_HOME/command; \
                  while :; do sleep 0.01; done";
    let run = Process::start(
        sidecar
            .run(&["sh", "-c", script])
            .env("USHER_TEST_HOME", home),
    );
    let there = |name: &str| home.join(name).exists().then_some(());
    eventually("the command to start", || there("command"));
    run.signal(Signal::SIGKILL);
    eventually("the command to hear of it", || there("command-gone"));
    eventually("the sidecar to hear of it", || there("sidecar-gone"));
}

#[test]
fn a_log_that_is_no_file_is_written_to_and_not_renamed() {
    let sidecar = FakeSidecar::new("");
    let device = sidecar.home.path().join("device");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    let log = device.display().to_string();
    let ran = output(&mut sidecar.run_with(&["--proxy-log", &log], &["true"]));
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let found = fs::symlink_metadata(&device).unwrap();
    assert!(found.is_symlink(), "{found:?}");
}

#[test]
fn stdout_belongs_to_the_command() {
    let sidecar = FakeSidecar::new("");
    let ran = output(&mut sidecar.run(&["true"]));
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let arguments = sidecar.read("arguments");
    assert!(arguments.contains("/access.log"), "{arguments}");
}
