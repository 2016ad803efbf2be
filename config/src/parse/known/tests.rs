//! What is not read again, and what is.

use std::fs;

use super::*;

const PATH: &str = "a.yaml";

fn said(text: &str) -> Arc<Parsed> {
    let mut parsed = Parsed::default();
    parsed.sources.insert(PATH.into(), text.into());
    Arc::new(parsed)
}

fn stamp(seconds: i64) -> Stamp {
    Stamp {
        inode: (1, 2),
        length: 3,
        times: [(seconds, 4), (seconds, 5)],
    }
}

fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_secs()).expect("before 2262")
}

/// Of a file that had this stamp when it was read.
fn known(stamp: Stamp) -> Known {
    let mut known = Known::default();
    let look = known.look();
    known.keep(&look, PATH.into(), (said("x"), stamp));
    known
}

fn is_unread(known: &mut Known, stamp: Stamp) -> bool {
    known.look().unread(Path::new(PATH), stamp).is_some()
}

#[test]
fn a_file_that_was_left_alone_and_looks_as_it_did_is_not_read() {
    let old = now() - 60;
    assert!(is_unread(&mut known(stamp(old)), stamp(old)));
    let others = [
        Stamp {
            inode: (1, 3),
            ..stamp(old)
        },
        Stamp {
            length: 4,
            ..stamp(old)
        },
        // Somebody has put the time of its text back: its inode's tells.
        Stamp {
            times: [(old, 4), (now(), 5)],
            ..stamp(old)
        },
        Stamp {
            times: [(old, 5), (old, 5)],
            ..stamp(old)
        },
    ];
    for other in others {
        assert!(!is_unread(&mut known(stamp(old)), other), "{other:?}");
    }
}

#[test]
fn one_that_was_just_written_or_is_from_the_future_is_read() {
    for at in [now(), now() - 2, now() + 1_000] {
        assert!(!is_unread(&mut known(stamp(at)), stamp(at)), "{at}");
    }
}

#[test]
fn everything_is_read_now_and_then() {
    let old = stamp(now() - 60);
    let mut known = known(old);
    known.whole_at = Instant::now().checked_sub(WHOLE_EVERY);
    let look = known.look();
    assert!(look.unread(Path::new(PATH), old).is_none());
    assert!(
        look.with_text(Path::new(PATH), "x").is_some(),
        "but not parsed"
    );
    assert!(look.with_text(Path::new(PATH), "y").is_none());
}

#[test]
fn what_is_written_over_a_file_changes_its_stamp() {
    let directory = tempfile::tempdir().expect("writable");
    let path = directory.path().join(PATH);
    let of = || Stamp::of(&fs::metadata(&path).expect("there"));
    fs::write(&path, "one").expect("writable");
    let before = of();
    let file = fs::File::options().write(true).open(&path).expect("there");
    let written = file.metadata().and_then(|of| of.modified()).expect("known");
    // Of the same length, and its time is put back. Times come in steps of some ms: until one is over it may look the same.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        fs::write(&path, "two").expect("writable");
        file.set_modified(written).expect("ours");
        if of() != before {
            return;
        }
    }
    panic!("{before:?}");
}
