//! What the second Ctrl-C does: nothing is left behind, or it is named.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use super::*;

#[test]
fn a_directory_that_can_be_deleted_is_gone_without_a_word() {
    let layout = Layout::create(None).unwrap();
    let root = layout.root().to_owned();
    assert_eq!(what_is_left(&root), None);
    assert!(!root.exists());
}

#[test]
fn a_directory_that_stays_is_named_and_so_is_who_deletes_it() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("not-a-directory");
    std::fs::write(&file, "").unwrap();
    let left = what_is_left(&file).unwrap();
    assert!(left.contains(&file.display().to_string()), "{left}");
    assert!(
        left.ends_with("the next start of the bank deletes it"),
        "{left}"
    );
}

#[tokio::test]
async fn all_that_was_started_is_killed_even_in_groups_of_its_own() {
    // Ignores what can be ignored, as a process that is stuck would.
    let mut parent = Command::new("/bin/sh")
        .args(["-c", "trap '' TERM; sleep 1000 & echo up; wait; wait"])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut up = [0; 2];
    std::io::Read::read_exact(parent.stdout.as_mut().unwrap(), &mut up).unwrap();
    let pid = Pid::from_raw(i32::try_from(parent.id()).unwrap());
    let below = ProcessTable::read().tree(pid);
    assert_eq!(below.len(), 2, "{below:?}");
    kill_all_below(pid).await;
    assert!(!crate::process_table::is_running(below[1]));
    // The root itself is spared: in the launcher it is the one who kills.
    parent.kill().unwrap();
    let _ = parent.wait().unwrap();
}

#[tokio::test]
async fn only_a_temporary_directory_is_doomed() {
    let parent = tempfile::tempdir().unwrap();
    let interrupted = Interrupted::listen().unwrap();
    interrupted.dooms(&Layout::create(None).unwrap());
    assert!(interrupted.doomed.lock().unwrap().is_some());
    interrupted.dooms(&Layout::create(Some(parent.path())).unwrap());
    assert_eq!(*interrupted.doomed.lock().unwrap(), None);
}
