//! `usher apply` and `--store`, as far as they go without an etcd.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    process::Command,
};

use nix::sys::signal::Signal;

use super::bench::{ControlPlane, MESH, Process, output, stderr, stdout, usher, write};

#[test]
fn what_has_mistakes_or_is_nothing_is_not_sent() {
    let home = tempfile::tempdir().expect("writable");
    let mesh = home.path().join("mesh");
    write(&mesh.join("readme.txt"), "nothing");
    let apply = || {
        let mut command = usher(home.path());
        command.arg("apply").arg(&mesh);
        command
    };
    let nothing = output(&mut apply());
    assert_eq!(nothing.status.code(), Some(64), "{}", stderr(&nothing));

    write(
        &mesh.join("a.yaml"),
        &MESH.replace("port: 50051", "port: 505051"),
    );
    let wrong = output(&mut apply());
    assert_eq!(wrong.status.code(), Some(1), "{}", stderr(&wrong));
    let said = stderr(&wrong);
    assert!(
        said.contains("a.yaml:11:") && said.contains("nothing was sent"),
        "{said}"
    );

    write(&mesh.join("a.yaml"), MESH);
    let policy = mesh.join("policy.yaml");
    write(&policy, "kind: AccessPolicy\nspec: [\n");
    let unread = output(&mut apply());
    assert_eq!(unread.status.code(), Some(1), "{}", stderr(&unread));
    assert!(stderr(&unread).contains("nothing was sent"));
    fs::remove_file(&policy).expect("there");
    // To itself: an error for whoever looks; and to what is not there.
    for (to, code, says) in [
        ("policy.yaml", 70, "cannot read"),
        ("gone.yaml", 1, "nothing was sent"),
    ] {
        std::os::unix::fs::symlink(to, &policy).expect("linked");
        let unread = output(&mut apply());
        let said = stderr(&unread);
        assert_eq!(unread.status.code(), Some(code), "{said}");
        assert!(
            said.contains(says) && said.contains("policy.yaml"),
            "{said}"
        );
        fs::remove_file(&policy).expect("there");
    }
    let alone = output(&mut apply());
    assert_eq!(alone.status.code(), Some(69), "{}", stderr(&alone));
    assert!(stderr(&alone).contains("usher serve"), "{}", stderr(&alone));
}

#[test]
fn a_directory_is_the_only_source_where_there_is_one() {
    let plane = ControlPlane::start(MESH);
    let folder = tempfile::tempdir().expect("writable");
    write(&folder.path().join("a.yaml"), MESH);
    let refused = output(plane.usher().arg("apply").arg(folder.path()));
    assert_eq!(refused.status.code(), Some(70), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("takes its configuration from the directory"),
        "{said}"
    );
    assert_eq!(stdout(&refused), "");
}

#[test]
fn a_store_that_cannot_be_had_is_named_with_what_to_do() {
    let home = tempfile::tempdir().expect("writable");
    let serve = |command: &mut Command| {
        let addresses = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        output(
            command
                .arg("serve")
                .args(addresses)
                .args(["--store", "etcd://127.0.0.1:1"]),
        )
    };
    let refused = serve(&mut usher(home.path()));
    let said = stderr(&refused);
    if cfg!(feature = "etcd") {
        assert_eq!(refused.status.code(), Some(69), "{said}");
        assert!(
            said.contains("127.0.0.1:1") && said.contains("refused"),
            "{said}"
        );
    } else {
        assert_eq!(refused.status.code(), Some(64), "{said}");
        assert!(
            said.contains("--features etcd") && said.contains("protoc"),
            "{said}"
        );
    }
}

/// A control plane's socket, and `usher apply` that has sent its request there and waits.
fn sent() -> (tempfile::TempDir, Process, std::os::unix::net::UnixStream) {
    let home = tempfile::tempdir().expect("writable");
    write(&home.path().join("mesh/a.yaml"), MESH);
    let data = home.path().join("usher");
    fs::create_dir_all(&data).expect("made");
    let listener = UnixListener::bind(data.join("operator.sock")).expect("bound");
    let mesh = home.path().join("mesh");
    let process = Process::start(usher(home.path()).arg("apply").arg(mesh));
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut request = [0; 64];
    let length = stream.read(&mut request).expect("it asks");
    let (asked, _) = request.split_at(length);
    assert!(asked.starts_with(b"POST /v1/apply"));
    (home, process, stream)
}

#[test]
fn whoever_interrupts_an_apply_is_told_that_nobody_knows_yet() {
    let (_home, process, _stream) = sent();
    process.signal(Signal::SIGINT);
    // It may take some time until the first one is taken; a second one then ends the waiting for an answer.
    let (code, said) = process.end();
    assert_eq!(code, Some(130), "{said}");
    for words in ["it was sent", "not said yet whether", "usher history"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn whoever_interrupts_an_apply_is_told_what_has_become_of_it() {
    let (_home, process, mut stream) = sent();
    process.signal(Signal::SIGINT);
    let body = r#"{"message":"nothing was changed: it has mistakes","rejected":[]}"#;
    let length = body.len();
    let answer =
        format!("HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).expect("it listens");
    let (code, said) = process.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
}
