//! A sidecar that is only a script and a socket, for tests of what `usher run` does around one.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use super::bench::{usher, write};

/// A sidecar's outside: it writes its addresses, answers its admin socket, ends when told.
pub(super) struct FakeSidecar {
    pub(super) home: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeSidecar {
    /// A sidecar that does `instead` where a real one would work; nothing: it runs until `/quit`.
    pub(super) fn new(instead: &str) -> Self {
        let home = tempfile::tempdir().expect("writable");
        let path = home.path().display();
        let script = format!(
            "#!/bin/sh\n\
             echo \"$@\" > {path}/arguments\n\
             state=$(echo \"$@\" | sed 's/.*--state-dir \\([^ ]*\\).*/\\1/')\n\
             token=$(echo \"$@\" | sed 's/.*--token-file \\([^ ]*\\).*/\\1/')\n\
             cp \"$token\" {path}/token\n\
             echo \"filter=$USHER_LOG\" > {path}/environment\n\
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
        answer_admin(home.path(), quit, Arc::clone(&asked));
        Self { home, asked }
    }

    pub(super) fn program(&self) -> PathBuf {
        self.home.path().join("usher-proxy")
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).expect("written")
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// `usher run` with this sidecar and a token from a file.
    pub(super) fn run(&self, command: &[&str]) -> Command {
        self.run_with(&[], command)
    }

    /// The same with more flags.
    pub(super) fn run_with(&self, flags: &[&str], command: &[&str]) -> Command {
        let token = self.home.path().join("given");
        write(&token, "usher1.a.b.c\n");
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&token, own).expect("ours");
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
        .args(flags)
        .arg("--")
        .args(command);
        run
    }
}

/// GET is answered with the file `standing`, where a test has written one.
fn answer_admin(home: &Path, quit: PathBuf, asked: Arc<Mutex<Vec<String>>>) {
    let listener = UnixListener::bind(home.join("admin.sock")).expect("free");
    let standing = home.join("standing");
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
            let body =
                fs::read_to_string(&standing).unwrap_or_else(|_| "{\"revision\":3}".to_owned());
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
            if is_quit {
                let _ = fs::write(&quit, "now\n");
            }
        }
    });
}
