//! What the tests of the command line share: the binary, a directory, a control plane, patience.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A small mesh: one service that one account may run.
pub(super) const MESH: &str = "\
apiVersion: usher.dev/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec: { trustDomain: bank.test }
---
apiVersion: v1
kind: Service
metadata: { name: account, namespace: bank }
spec:
  selector: { app: account }
  ports: [{ name: grpc, port: 50051, appProtocol: grpc }]
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: account, namespace: bank, labels: { app: account } }
spec: { serviceAccount: account }
";

/// `usher` with nothing of the tester's own environment in its way.
pub(super) fn usher(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
    for name in [
        "USHER_DATA",
        "USHER_SERVER",
        "USHER_CONTROL_PLANE",
        "USHER_PROXY",
        "USHER_LOG",
    ] {
        command.env_remove(name);
    }
    command
        .env("XDG_STATE_HOME", home)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end, which must come within half a minute.
pub(super) fn output(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("usher starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(Duration::from_secs(30)) {
        Ok(output) => output.expect("ended"),
        Err(_) => {
            let _ = kill(pid, Signal::SIGKILL);
            panic!("still running after half a minute: {command:?}");
        }
    }
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes a file, with its directories.
pub(super) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("has one")).expect("writable");
    fs::write(path, text).expect("writable");
}

/// Looks until `found` says something, for at most ten seconds.
pub(super) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        thread::yield_now();
    }
}

/// A process that is ended when the test is over, however it ends.
pub(super) struct Process {
    pub(super) child: Child,
}

impl Process {
    pub(super) fn start(command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self {
            child: child.expect("usher starts"),
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("running");
    }

    /// Waits for its end; returns exit code and what it wrote to stderr.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .expect("piped")
            .read_to_string(&mut text)
            .expect("UTF-8");
        (self.child.wait().expect("ended").code(), text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A control plane on free ports, and its directories.
pub(super) struct ControlPlane {
    pub(super) process: Process,
    pub(super) home: tempfile::TempDir,
    /// The banner, or the JSON document, that it printed.
    pub(super) said: String,
}

impl ControlPlane {
    pub(super) fn start(mesh: &str) -> Self {
        let home = tempfile::tempdir().expect("writable");
        write(&home.path().join("mesh/mesh.yaml"), mesh);
        Self::start_in(home)
    }

    pub(super) fn start_in(home: tempfile::TempDir) -> Self {
        let mut process = Process::start(
            usher(home.path())
                .args([
                    "serve",
                    "--listen",
                    "127.0.0.1:0",
                    "--http",
                    "127.0.0.1:0",
                    "--dns",
                    "127.0.0.1:0",
                    "--config",
                ])
                .arg(home.path().join("mesh")),
        );
        let mut lines = BufReader::new(process.child.stdout.take().expect("piped")).lines();
        let mut said = Vec::new();
        for line in &mut lines {
            said.push(line.expect("UTF-8"));
            if said
                .last()
                .is_some_and(|line| line.contains("usher token create"))
            {
                break;
            }
        }
        let plane = Self {
            process,
            home,
            said: said.join("\n"),
        };
        eventually("addresses.json", || {
            plane.data().join("addresses.json").exists().then_some(())
        });
        plane
    }

    pub(super) fn data(&self) -> PathBuf {
        self.home.path().join("usher")
    }

    pub(super) fn usher(&self) -> Command {
        usher(self.home.path())
    }
}
