//! A process ends when asked, when killed, and when it is forgotten.

use super::*;

fn shell(script: &str, directory: &Path) -> Process {
    let launch = Launch {
        name: "shell".into(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("WORD".into(), "hello".into())],
        log: directory.join("shell.log"),
    };
    launch.start().unwrap()
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    let polling = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), polling)
        .await
        .expect("it never came to be");
}

#[tokio::test]
async fn what_it_says_is_in_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = shell("echo $WORD; echo trouble >&2; exit 3", directory.path());
    eventually(|| process.ended().is_some()).await;
    assert_eq!(process.ended().unwrap().code(), Some(3));
    assert_eq!(
        std::fs::read_to_string(directory.path().join("shell.log")).unwrap(),
        "hello\ntrouble\n"
    );
}

#[tokio::test]
async fn one_that_heeds_the_signal_is_not_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = shell(
        "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done",
        directory.path(),
    );
    let log = directory.path().join("shell.log");
    eventually(|| std::fs::read_to_string(&log).is_ok_and(|text| text.contains("up"))).await;
    let stopped = process.stop(Duration::from_secs(10)).await.unwrap();
    assert!(
        matches!(stopped, Stopped::Asked(status) if status.code() == Some(7)),
        "{stopped:?}"
    );
}

#[tokio::test]
async fn one_that_ignores_the_signal_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = shell(
        "trap '' TERM; sleep 1000 & echo $!; wait; wait",
        directory.path(),
    );
    let log = directory.path().join("shell.log");
    let child = || {
        std::fs::read_to_string(&log)
            .ok()?
            .trim()
            .parse()
            .ok()
            .map(Pid::from_raw)
    };
    eventually(|| child().is_some()).await;
    let child = child().unwrap();
    let limit = Duration::from_millis(50);
    assert_eq!(
        process.stop(limit).await.unwrap(),
        Stopped::Killed { after: limit }
    );
    // The orphan is a zombie until its new parent reaps it; its state tells, not its existence.
    eventually(|| !is_running(child)).await;
}
