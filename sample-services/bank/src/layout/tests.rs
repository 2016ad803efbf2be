//! The directory is private to one launcher and disappears with it.

use super::*;

#[test]
fn a_temporary_directory_goes_with_its_launcher() {
    let layout = Layout::create(None).unwrap();
    let root = layout.root().to_owned();
    assert!(root.join("bin/usher-proxy").symlink_metadata().is_ok());
    assert!(root.join("config/mesh.yaml").exists());
    drop(layout);
    assert!(!root.exists());
}

#[test]
fn two_launchers_never_share_a_directory() {
    let parent = tempfile::tempdir().unwrap();
    let chosen = parent.path().join("data");
    let first = Layout::create(Some(&chosen)).unwrap();
    let second = Layout::create(Some(&chosen)).unwrap_err();
    let by = format!("in use by another launcher (pid {})", std::process::id());
    assert!(second.to_string().contains(&by), "{second}");
    assert!(second.to_string().contains("another --data"), "{second}");
    drop(first);
    assert!(Layout::create(Some(&chosen)).is_ok());
}

#[test]
fn edited_configuration_survives_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let layout = Layout::create(Some(parent.path())).unwrap();
    layout.configure("mesh.yaml", "edited").unwrap();
    drop(layout);
    let layout = Layout::create(Some(parent.path())).unwrap();
    assert_eq!(layout.configured("mesh.yaml").unwrap(), "edited");
}

#[test]
fn a_path_too_long_for_sockets_is_refused_with_the_reason() {
    let parent = tempfile::tempdir().unwrap();
    let error = Layout::create(Some(&parent.path().join("x".repeat(100)))).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
    assert!(error.to_string().contains("--data"), "{error}");
}

#[test]
fn where_nothing_can_be_made_the_way_out_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    File::create(&file).unwrap();
    let error = Layout::create(Some(&file.join("data"))).unwrap_err();
    assert!(error.to_string().contains("--data"), "{error}");
    for unusable in [file, parent.path().join("absent")] {
        let error = temporary_in(&unusable).unwrap_err();
        assert!(error.to_string().contains("set TMPDIR"), "{error}");
    }
}

#[test]
fn directories_of_killed_launchers_are_deleted_and_those_in_use_are_not() {
    let parent = tempfile::tempdir().unwrap();
    let abandoned = parent.path().join("bank-abandoned");
    let used = parent.path().join("bank-used");
    for directory in [&abandoned, &used] {
        fs::create_dir(directory).unwrap();
        File::create(directory.join(LOCK)).unwrap();
    }
    let held = lock(&used).unwrap();
    remove_abandoned(parent.path());
    assert!(!abandoned.exists());
    assert!(used.exists());
    drop(held);
}
