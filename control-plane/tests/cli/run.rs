//! `usher run` beside a sidecar that is only a script: what it starts, in which order it ends things.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use nix::sys::signal::Signal;

use super::bench::{ControlPlane, MESH, Process, eventually, output, stderr, usher, write};

/// A sidecar's outside: it writes its addresses, answers its admin socket, ends when told.
struct FakeSidecar {
    home: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeSidecar {
    /// A sidecar that does `instead` where a real one would work; nothing: it runs until `/quit`.
    fn new(instead: &str) -> Self {
        let home = tempfile::tempdir().expect("writable");
        let path = home.path().display();
        let script = format!(
            "#!/bin/sh\n\
             echo \"$@\" > {path}/arguments\n\
             state=$(echo \"$@\" | sed 's/.*--state-dir \\([^ ]*\\).*/\\1/')\n\
             token=$(echo \"$@\" | sed 's/.*--token-file \\([^ ]*\\).*/\\1/')\n\
             cp \"$token\" {path}/token\n\
             echo '{{\"outbound\":\"127.0.0.1:15001\",\"inbound\":\"127.0.0.1:15006\",\
             \"metrics\":\"127.0.0.1:15020\",\"admin\":\"{path}/admin.sock\"}}' > $state/new\n\
             {instead}\n\
             mv $state/new $state/addresses.json\n\
             read line < {path}/quit\n"
        );
        let program = home.path().join("usher-proxy");
        write(&program, &script);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
        let quit = home.path().join("quit");
        nix::unistd::mkfifo(&quit, nix::sys::stat::Mode::S_IRWXU).expect("writable");
        let asked = Arc::new(Mutex::new(Vec::new()));
        answer_admin(&home.path().join("admin.sock"), quit, Arc::clone(&asked));
        Self { home, asked }
    }

    fn program(&self) -> PathBuf {
        self.home.path().join("usher-proxy")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).expect("written")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// `usher run` with this sidecar and a token from a file.
    fn run(&self, command: &[&str]) -> Command {
        let token = self.home.path().join("given");
        write(&token, "usher1.a.b.c\n");
        let mut run = usher(self.home.path());
        run.args([
            "run",
            "--service",
            "account",
            "--namespace",
            "bank",
            "--port",
            "8080",
        ])
        .arg("--proxy")
        .arg(self.program())
        .arg("--token-file")
        .arg(token)
        .arg("--")
        .args(command);
        run
    }
}

fn answer_admin(path: &Path, quit: PathBuf, asked: Arc<Mutex<Vec<String>>>) {
    let listener = UnixListener::bind(path).expect("free");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).unwrap_or(0);
            let text =
                String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
            let line = text.lines().next().unwrap_or_default().to_owned();
            let is_quit = line.starts_with("POST /quit");
            if !line.starts_with("GET") {
                asked.lock().expect("not poisoned").push(line);
            }
            let body = "{\"revision\":3}";
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
            if is_quit {
                let _ = fs::write(&quit, "now\n");
            }
        }
    });
}

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
    for (sidecar_code, words) in [(69, "refused this workload"), (78, "127.0.0.1"), (3, "3")] {
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
