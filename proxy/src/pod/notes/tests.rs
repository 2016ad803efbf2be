//! Containers that end, die, and start again.

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ends_with(notes: &Path, again: Again) -> EndsWith {
    EndsWith {
        notes: notes.to_owned(),
        again,
        containers: vec![name("a"), name("b")],
    }
}

#[test]
fn a_pod_is_over_when_nothing_will_run_again() {
    use State::{Ended, Expected, Running};
    for (states, never, on_failure) in [
        (&[Ended(Some(0)), Ended(Some(0))], true, true),
        (&[Ended(Some(0)), Ended(Some(1))], true, false),
        (&[Ended(Some(0)), Ended(None)], true, false),
        (&[Ended(Some(0)), Running], false, false),
        (&[Expected, Ended(Some(0))], false, false),
    ] {
        assert_eq!(is_over(states, Again::Never), never, "{states:?}");
        assert_eq!(is_over(states, Again::OnFailure), on_failure, "{states:?}");
    }
}

#[test]
fn a_note_tells_how_far_its_container_is() {
    let notes = tempfile::tempdir().unwrap();
    let (notes, a) = (notes.path(), name("a"));
    assert_eq!(look(notes, &a), State::Expected);
    // Made, and not yet locked.
    File::create(notes.join("a")).unwrap();
    assert_eq!(look(notes, &a), State::Expected);
    let mut note = Note::begin(notes, &a).unwrap();
    assert_eq!(look(notes, &a), State::Running);
    note.end(3).unwrap();
    assert_eq!(look(notes, &a), State::Running, "until it has ended");
    drop(note);
    assert_eq!(look(notes, &a), State::Ended(Some(3)));
    // Killed: the kernel lets go of the lock.
    drop(Note::begin(notes, &a).unwrap());
    assert_eq!(look(notes, &a), State::Ended(None));
    let mode = fs::metadata(notes.join("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_waits_for_the_last_success() {
    let notes = tempfile::tempdir().unwrap();
    let end = |text: &str, code: u8| {
        let mut note = Note::begin(notes.path(), &name(text)).unwrap();
        note.end(code).unwrap();
    };
    let long = Duration::from_secs(60);
    let mut waiting = Box::pin(over(Some(ends_with(notes.path(), Again::OnFailure))));
    end("a", 0);
    end("b", 1);
    assert!(
        tokio::time::timeout(long, &mut waiting).await.is_err(),
        "b starts again"
    );
    end("b", 0);
    assert!(tokio::time::timeout(long, waiting).await.is_ok());
    assert!(tokio::time::timeout(long, over(None)).await.is_err());
}
