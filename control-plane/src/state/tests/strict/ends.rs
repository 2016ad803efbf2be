//! How a wait ends, and what does not end it.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_restarted_control_plane_waits_until_sidecars_have_said_who_calls() {
    let data = tempfile::tempdir().expect("dir");
    let (first, config) = permissive(data.path()).await;
    let config = config.path();
    drop(first);
    strict(config);
    let state = open_when_released(config, data.path()).await;
    assert_eq!(mode(&state), MtlsMode::Permissive, "nobody is known yet");
    let said = waits(&state);
    assert!(said[0].1.contains("has just started"), "{said:?}");

    // Somebody is heard of: that is why it waits from now on.
    state.register(&name(), called(30)).expect("room");
    let said = waits(&state);
    assert!(said[0].1.contains("192.0.2.7"), "{said:?}");
    tokio::time::advance(KNOWN_AFTER).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(mode(&state), MtlsMode::Permissive, "the caller is there");

    // So it is after one more start, of which nothing was edited.
    drop(state);
    let state = open_when_released(config, data.path()).await;
    assert_eq!(mode(&state), MtlsMode::Permissive);
    assert!(waits(&state)[0].1.contains("has just started"));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_control_plane_that_hears_of_nobody_lets_the_change_in() {
    let data = tempfile::tempdir().expect("dir");
    let (first, config) = permissive(data.path()).await;
    drop(first);
    strict(config.path());
    let state = open_when_released(config.path(), data.path()).await;
    assert_eq!(mode(&state), MtlsMode::Permissive);
    until(&state, MtlsMode::Strict).await;
    let record = state.revisions()[0].clone();
    assert_eq!(
        (record.author.as_str(), record.origin.as_str()),
        ("", "directory")
    );
    assert!(
        record.message.contains("nobody calls"),
        "{}",
        record.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_dismissal_holds_for_what_is_edited_within_ten_minutes() {
    for (after, expected) in [
        (Duration::from_secs(599), MtlsMode::Strict),
        (DISMISSED_FOR, MtlsMode::Permissive),
    ] {
        let data = tempfile::tempdir().expect("dir");
        let (state, config) = permissive(data.path()).await;
        state.register(&name(), called(30)).expect("room");
        dismiss(&state, None).await;
        tokio::time::advance(after).await;
        strict(config.path());
        read(&state, config.path()).await;
        assert_eq!(mode(&state), expected);
    }
}

#[tokio::test]
async fn the_mode_comes_into_force_when_the_last_caller_is_forgotten_a_day_after_the_start() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    // Of its day a second or two are left.
    state.register(&name(), called(86_398)).expect("room");
    strict(config.path());
    assert_eq!(read(&state, config.path()).await.len(), 1);
    let forgotten = async || {
        while !waits(&state)[0].1.contains("is forgotten since a start") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten())
        .await
        .expect("forgotten");
    assert_eq!(mode(&state), MtlsMode::Permissive);
    *lock(&state.0.guard.doubts_until) = tokio::time::Instant::now();
    until(&state, MtlsMode::Strict).await;
    assert_eq!(waits(&state), []);
}

#[tokio::test(start_paused = true)]
async fn who_starts_ends_no_wait_for_a_caller_that_it_does_not_know() {
    let data = tempfile::tempdir().expect("dir");
    let (first, config) = permissive(data.path()).await;
    first.register(&name(), called(30)).expect("room");
    strict(config.path());
    assert_eq!(read(&first, config.path()).await.len(), 1);
    drop(first);
    // The sidecar that had seen it is gone as well.
    let state = open_when_released(config.path(), data.path()).await;
    tokio::time::sleep(2 * KNOWN_AFTER).await;
    assert_eq!(mode(&state), MtlsMode::Permissive);
    // Nor does an edit of something else.
    fs::write(
        config.path().join("mesh.yaml"),
        MESH.replace("true", "false"),
    )
    .expect("written");
    assert_eq!(read(&state, config.path()).await.len(), 1);
    assert_eq!(mode(&state), MtlsMode::Permissive);
    dismiss(&state, None).await;
    assert_eq!(mode(&state), MtlsMode::Strict);
}

#[tokio::test(start_paused = true)]
async fn going_back_to_what_ran_permissive_takes_plaintext_again() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    state.register(&name(), called(30)).expect("room");
    strict(config.path());
    assert_eq!(read(&state, config.path()).await.len(), 1);
    let ran = state.revisions()[0].number;
    dismiss(&state, None).await;
    assert_eq!(mode(&state), MtlsMode::Strict);
    let by = By::rollback(ran, "me".to_owned(), String::new());
    state.roll_back(ran, &by).await.expect("there");
    assert_eq!(mode(&state), MtlsMode::Permissive);
    // Although they were dismissed a moment ago, and nobody has called since.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(mode(&state), MtlsMode::Permissive);
    let by = By { forced: true, ..by };
    state.roll_back(ran, &by).await.expect("there");
    assert_eq!(mode(&state), MtlsMode::Strict);
}

#[tokio::test]
async fn who_is_locked_out_all_the_same_is_in_the_history() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    state.register(&name(), called(30)).expect("room");
    strict(config.path());
    fs::write(
        config.path().join("service.yaml"),
        SERVICE.replace("8080", "9090"),
    )
    .expect("written");
    assert_eq!(read(&state, config.path()).await, []);
    assert_eq!(mode(&state), MtlsMode::Strict);
    let message = state.revisions()[0].message.clone();
    assert!(
        message.starts_with(
            "Strict in force for bank/account, and callers in plaintext are locked out (more than"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn going_back_to_a_strict_revision_lets_the_mode_wait_unless_it_is_forced() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    strict(config.path());
    assert_eq!(read(&state, config.path()).await, []);
    fs::write(config.path().join("policy.yaml"), PERMISSIVE).expect("written");
    assert_eq!(read(&state, config.path()).await, []);
    state.register(&name(), called(30)).expect("room");
    let by = By::rollback(2, "me".to_owned(), String::new());
    state.roll_back(2, &by).await.expect("there");
    assert_eq!(mode(&state), MtlsMode::Permissive);
    assert_eq!(waits(&state).len(), 1);
    let by = By { forced: true, ..by };
    state.roll_back(2, &by).await.expect("forced");
    assert_eq!(mode(&state), MtlsMode::Strict);
    assert_eq!(waits(&state), []);
}

#[tokio::test]
async fn what_waits_in_a_revision_that_is_held_ends_and_the_revision_stays_held() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    state.register(&name(), called(30)).expect("room");
    strict(config.path());
    assert_eq!(read(&state, config.path()).await.len(), 1);
    let by = By::rollback(2, "me".to_owned(), String::new());
    state.roll_back(2, &by).await.expect("there");
    assert_eq!(mode(&state), MtlsMode::Permissive);
    dismiss(&state, None).await;
    assert_eq!(mode(&state), MtlsMode::Strict);
    assert_eq!(state.status().pinned, Some(2));
}

#[tokio::test]
async fn what_is_applied_whole_is_in_force_but_for_the_mode_until_it_is_forced() {
    let state = State::new(Box::new(crate::registry::MemoryStore::default())).expect("opens");
    let parsed = |policy: &str| {
        let texts = [MESH, SERVICE, WORKLOAD, policy].join("---\n");
        usher_config::parse::parse_files(&[("mesh.yaml".into(), texts)])
    };
    let by = By::default();
    let apply = async |policy: &str, by: &By| {
        let done = state.apply_whole(parsed(policy), by).await;
        done.expect("stored")
    };
    assert!(matches!(apply(PERMISSIVE, &by).await, Decision::New(_)));
    state.register(&name(), called(30)).expect("room");
    let strict = PERMISSIVE.replace("Permissive", "Strict");
    assert!(matches!(apply(&strict, &by).await, Decision::New(_)));
    assert_eq!(mode(&state), MtlsMode::Permissive);
    assert!(matches!(apply(&strict, &by).await, Decision::Unchanged(_)));
    let forced = By {
        forced: true,
        ..by.clone()
    };
    assert!(matches!(apply(&strict, &forced).await, Decision::New(_)));
    assert_eq!(mode(&state), MtlsMode::Strict);
    // What is Strict is not made Permissive again by who is refused since.
    assert!(matches!(apply(&strict, &by).await, Decision::Unchanged(_)));
    assert_eq!(mode(&state), MtlsMode::Strict);
}
