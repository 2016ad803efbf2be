//! A reader that leaves is noticed; another trouble with writing is none of that.

use super::*;

#[test]
fn a_pipe_without_reader_is_noticed() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    assert!(!has_lost_reader(&write_line(&mut writer, "heard")));
    drop(reader);
    assert!(has_lost_reader(&write_line(&mut writer, "lost")));
}

#[test]
fn a_full_disk_is_no_lost_reader() {
    let full = Err(ErrorKind::StorageFull.into());
    assert!(!has_lost_reader(&full));
}
