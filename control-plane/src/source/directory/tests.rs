//! Every way of saving is noticed, and half of a save is not taken for a whole.

use std::fs;

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

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_and_not_empty() {
    let directory = tempfile::tempdir().expect("directory");
    assert!(read(&directory.path().join("gone")).await.is_err());
}
