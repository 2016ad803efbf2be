//! Root kills what a record names: only a group of the same service, and only as the same user wrote it.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use proptest::prelude::*;

use super::*;

const PREFIX: &str = "usher-shop.web-";

fn held(cgroup: &str) -> Held {
    Held {
        cgroup: cgroup.to_owned(),
    }
}

fn said(state: &Path) -> String {
    let failure = left(state, PREFIX).unwrap_err();
    format!("{failure}")
}

#[test]
fn what_a_run_wrote_is_found_private_and_forgotten_alone() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    assert_eq!(prefix("shop/web"), PREFIX);
    let (one, other) = (file(state, "0123abcd"), file(state, "89ef4567"));
    write(&one, &held("a.slice/usher-shop.web-0123abcd")).unwrap();
    write(&other, &held("usher-shop.web-89ef4567")).unwrap();
    fs::write(log(&one), "").unwrap();
    fs::write(log(&other), "said\n").unwrap();
    assert_eq!(
        fs::metadata(&one).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(left(state, PREFIX).unwrap().len(), 2);
    forget(&one);
    assert!(!log(&one).exists(), "nothing was said");
    assert_eq!(
        left(state, PREFIX).unwrap(),
        [(other.clone(), held("usher-shop.web-89ef4567"))]
    );
    forget(&other);
    assert!(log(&other).exists());
    assert!(left(state, PREFIX).unwrap().is_empty());
}

#[test]
fn others_groups_are_not_believed() {
    let state = tempfile::tempdir().unwrap();
    let record = file(state.path(), "0123abcd");
    for wrong in [
        "",
        "system.slice/ssh.service",
        "/usher-shop.web-0123abcd",
        "../usher-shop.web-0123abcd",
        "a/../usher-shop.web-0123abcd",
        "a//usher-shop.web-0123abcd",
        "usher-shop.web-0123abcd/..",
        "usher-shop.web-0123abcd/",
        "usher-shop.web-0123abcd/below",
        "usher-shop.web-",
        "usher-shop.web-next-0123abcd",
        "usher-shop.api-0123abcd",
    ] {
        write(&record, &held(wrong)).unwrap();
        let said = said(state.path());
        assert!(said.contains("usher-shop.web-NUMBER"), "{wrong}: {said}");
    }
    write(&record, &held("a/usher-shop.web-0123abcd")).unwrap();
    assert_eq!(left(state.path(), PREFIX).unwrap().len(), 1);
}

#[test]
fn what_cannot_be_read_is_said_and_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let record = file(state.path(), "0123abcd");
    fs::write(&record, "{\"cgroup\": \"usher-sh").unwrap();
    let failure = left(state.path(), PREFIX).unwrap_err();
    assert!(
        failure.message.contains("not believed"),
        "{}",
        failure.message
    );
    let advice = failure.advice.join("\n");
    assert!(
        advice.contains("cgroup.kill") && advice.contains(&format!("rm {}", record.display())),
        "{advice}"
    );
    let elsewhere = state.path().join("elsewhere");
    fs::rename(&record, &elsewhere).unwrap();
    write(&elsewhere, &held("usher-shop.web-0123abcd")).unwrap();
    symlink(&elsewhere, &record).unwrap();
    assert!(said(state.path()).contains("no file"), "a link");
}

#[test]
fn what_somebody_else_wrote_is_not_believed() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let record = file(state.path(), "0123abcd");
    write(&record, &held("usher-shop.web-0123abcd")).unwrap();
    for whose in [record.as_path(), state.path()] {
        std::os::unix::fs::chown(whose, Some(65_534), None).unwrap();
        let said = said(state.path());
        assert!(said.contains("owned by user 65534"), "{said}");
        std::os::unix::fs::chown(whose, Some(0), None).unwrap();
    }
    assert_eq!(left(state.path(), PREFIX).unwrap().len(), 1);
}

proptest! {
    #[test]
    fn whatever_is_believed_lies_below_the_root_and_is_the_services(cgroup in "(/?(\\.\\.?|a|usher-shop\\.web-[0-9a-f]{7,9}|x-)){0,4}") {
        if is_of(&cgroup, PREFIX) {
            let path = Path::new(&cgroup);
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            let last = path.file_name().unwrap().to_str().unwrap();
            prop_assert!(last.starts_with(PREFIX) && last.len() == PREFIX.len() + DIGITS);
        }
    }
}
