//! What is on disk at the end.

use super::*;

fn known() -> Subscription {
    Subscription::new("bank/transaction".parse().unwrap(), "i", [])
}

#[tokio::test]
async fn what_was_learnt_since_the_last_save_is_saved_at_the_end_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let directory = StateDir::open(folder.path()).unwrap();
    let mut saving = Saving::new(directory.clone());
    saving.finish(&known()).await;
    assert_eq!(last_known_good::load(&directory).unwrap(), None);
    // While one is under way there is no second.
    let (done, under_way) = oneshot::channel();
    saving.under_way = Some(under_way);
    saving.note_change();
    saving.save(&known());
    assert!(saving.due);
    assert_eq!(last_known_good::load(&directory).unwrap(), None);
    done.send(Ok(())).unwrap();
    saving.finish(&known()).await;
    assert!(!saving.due && saving.under_way.is_none());
    let kept = last_known_good::load(&directory).unwrap();
    assert_eq!(kept, Some(last_known_good::encode(&known())));
}

#[tokio::test]
async fn what_the_disk_refused_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let directory = StateDir::open(&path).unwrap();
    let mut saving = Saving::new(directory.clone());
    std::fs::remove_dir(&path).unwrap();
    saving.note_change();
    saving.finish(&known()).await;
    assert!(saving.due && saving.failures == 1);
    std::fs::create_dir(&path).unwrap();
    saving.finish(&known()).await;
    assert!(!saving.due && saving.failures == 0);
    assert!(last_known_good::load(&directory).unwrap().is_some());
}

#[test]
fn a_disk_that_refuses_is_left_alone_for_twice_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut saving = Saving::new(StateDir::open(folder.path()).unwrap());
    let mut refused = || {
        saving.saved(Err(abandoned()));
        saving.pause
    };
    let pauses: Vec<u32> = std::iter::repeat_with(&mut refused).take(7).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    // No runtime: a save that began would panic.
    (0..30).for_each(|_| saving.save(&known()));
    assert!(saving.due && saving.under_way.is_none());
    saving.saved(Ok(()));
    assert_eq!(saving.failures, 0);
}
