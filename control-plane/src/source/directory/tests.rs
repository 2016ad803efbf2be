//! Every way of saving is noticed, and half of a save is not taken for a whole.

use std::{fs, os::unix::fs::symlink};

use super::*;

async fn noticed(act: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().expect("directory");
    fs::write(directory.path().join("a.yaml"), "one").expect("written");
    let mut watch = Watch::new(directory.path());
    act(directory.path());
    timeout(AGAIN / 2, watch.changed())
        .await
        .expect("noticed before the next look in any case");
}

#[tokio::test]
async fn a_file_written_in_place_is_noticed() {
    noticed(|directory| fs::write(directory.join("a.yaml"), "two").expect("written")).await;
}

#[tokio::test]
async fn a_file_renamed_over_another_is_noticed() {
    noticed(|directory| {
        fs::write(directory.join(".a.yaml.swp"), "two").expect("written");
        fs::rename(directory.join(".a.yaml.swp"), directory.join("a.yaml")).expect("renamed");
    })
    .await;
}

#[tokio::test]
async fn a_new_folder_and_a_deletion_are_noticed() {
    noticed(|directory| fs::create_dir(directory.join("more")).expect("made")).await;
    noticed(|directory| fs::remove_file(directory.join("a.yaml")).expect("removed")).await;
}

/// A link of its own, renamed over the old one, as Kubernetes does with `..data`.
fn swap(link: &Path, target: &str) {
    let next = link.with_extension("next");
    symlink(target, &next).expect("made");
    fs::rename(&next, link).expect("swapped");
}

async fn is_noticed(watch: &mut Watch) {
    timeout(AGAIN / 2, watch.changed())
        .await
        .expect("noticed before the next look in any case");
    watch.follow().await;
}

#[tokio::test]
async fn a_swap_of_a_link_on_the_way_is_noticed_and_the_new_end_is_watched() {
    // The path itself is a link; a link before it; and as a ConfigMap is mounted, where the files are links over `..data`;
    // and a file in a folder.
    for (path, link) in [
        ("mesh", "mesh"),
        ("data/mesh", "data"),
        ("mount", "mount/data"),
        ("nested", "data"),
    ] {
        let root = tempfile::tempdir().expect("directory");
        let root = root.path();
        for version in ["one", "two"] {
            fs::create_dir_all(root.join(version).join("mesh")).expect("made");
            fs::write(root.join(version).join("a.yaml"), version).expect("written");
        }
        if path == "mount" {
            fs::create_dir(root.join("mount")).expect("made");
            symlink("data/a.yaml", root.join("mount/a.yaml")).expect("made");
        }
        if path == "nested" {
            fs::create_dir_all(root.join("nested/folder")).expect("made");
            symlink("../../data/a.yaml", root.join("nested/folder/a.yaml")).expect("made");
        }
        let target = |version: &str| root.join(version).display().to_string();
        symlink(target("one"), root.join(link)).expect("made");
        let mut watch = Watch::new(&root.join(path));
        swap(&root.join(link), &target("two"));
        is_noticed(&mut watch).await;
        // Twice: what was watched first is gone by now.
        swap(&root.join(link), &target("one"));
        is_noticed(&mut watch).await;
        if path != "mount" {
            fs::write(root.join(path).join("b.yaml"), "new").expect("written");
            is_noticed(&mut watch).await;
        }
    }
}

#[tokio::test]
async fn another_directory_of_the_same_name_is_noticed_and_watched() {
    let root = tempfile::tempdir().expect("directory");
    let path = root.path().join("mesh");
    fs::create_dir(&path).expect("made");
    let mut watch = Watch::new(&path);
    fs::create_dir(root.path().join("next")).expect("made");
    fs::rename(&path, root.path().join("old")).expect("moved");
    fs::rename(root.path().join("next"), &path).expect("moved");
    is_noticed(&mut watch).await;
    fs::write(path.join("a.yaml"), "new").expect("written");
    is_noticed(&mut watch).await;
}

#[tokio::test]
async fn what_happens_beside_the_directory_is_nobodys_matter() {
    let root = tempfile::tempdir().expect("directory");
    let path = root.path().join("mesh");
    fs::create_dir(&path).expect("made");
    let mut watch = Watch::new(&path);
    fs::write(root.path().join("other"), "noise").expect("written");
    fs::write(path.join("a.yaml"), "one").expect("written");
    is_noticed(&mut watch).await;
    fs::write(root.path().join("other"), "more noise").expect("written");
    let noticed = timeout(QUIET_MAX, watch.changed()).await;
    assert!(noticed.is_err(), "nothing has changed in there");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_and_not_empty() {
    let directory = tempfile::tempdir().expect("directory");
    assert!(read(&directory.path().join("gone")).await.is_err());
}

#[test]
fn what_a_hidden_link_leads_to_is_not_watched() {
    let root = tempfile::tempdir().expect("dir");
    let root = root.path().canonicalize().expect("there");
    for name in ["mesh", "hidden", "seen"] {
        std::fs::create_dir(root.join(name)).expect("made");
    }
    let mesh = root.join("mesh");
    symlink(root.join("hidden"), mesh.join(".cache")).expect("linked");
    symlink(root.join("seen"), mesh.join("more")).expect("linked");
    let way = Way::to(&mesh);
    let beside: Vec<_> = way.beside.iter().map(|(end, ..)| end.clone()).collect();
    assert_eq!(beside, [root.join("seen")]);
}
