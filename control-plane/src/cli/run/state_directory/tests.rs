//! A directory that cannot be locked.

use super::*;

#[test]
fn a_lock_that_leads_nowhere_is_an_error_and_no_endless_wait() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    fs::create_dir(&path).unwrap();
    std::os::unix::fs::symlink("none/lock", path.join(LOCK)).unwrap();
    let error = StateDirectory::lock(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
