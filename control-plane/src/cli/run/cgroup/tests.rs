//! What the kernel says about control groups is read as it is meant.

use super::*;

#[test]
fn the_last_mount_at_a_place_is_the_one_that_is_seen() {
    let hybrid = "proc /proc proc rw 0 0\ntmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    assert_eq!(
        mounted(hybrid),
        Mounted::Other {
            found: Some("tmpfs".to_owned()),
            elsewhere: Some("/sys/fs/cgroup/unified".to_owned()),
        }
    );
    let over = format!("{hybrid}none /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");
    assert_eq!(mounted(&over), Mounted::V2);
    assert_eq!(
        mounted(&format!("{over}tmpfs /sys/fs/cgroup tmpfs rw 0 0\n")),
        mounted(&over.replace("none /sys/fs/cgroup cgroup2", "tmpfs /sys/fs/cgroup tmpfs"))
    );
    assert_eq!(
        mounted("a line\n\n"),
        Mounted::Other {
            found: None,
            elsewhere: None
        }
    );
}

#[test]
fn a_group_that_cannot_be_looked_at_is_not_taken_for_empty() {
    let directory = tempfile::tempdir().unwrap();
    let events = directory.path().join("cgroup.events");
    assert!(!is_populated(directory.path()), "it is gone");
    fs::create_dir(&events).unwrap();
    assert!(is_populated(directory.path()), "not readable");
    fs::remove_dir(&events).unwrap();
    for (text, expected) in [("populated 1\nfrozen 0\n", true), ("populated 0\n", false)] {
        fs::write(&events, text).unwrap();
        assert_eq!(is_populated(directory.path()), expected, "{text}");
    }
}

#[test]
fn our_own_group_is_the_one_of_version_2() {
    let hybrid = "4:memory:/process/1\n1:cpu:/\n0::/user.slice/session-3.scope\n";
    assert_eq!(own(hybrid), Some("user.slice/session-3.scope"));
    assert_eq!(own("0::/\n"), Some(""));
    for elsewhere in [
        "1:cpu:/\n",
        "0::/../../init.scope\n",
        "0::/gone (deleted)\n",
        "",
    ] {
        assert_eq!(own(elsewhere), None, "{elsewhere:?}");
    }
}
