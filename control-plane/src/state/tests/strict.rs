//! What would lock callers out waits until they are gone, or dismissed.

use usher_config::value::ServiceName;

use crate::{
    registry::{callers::Caller, object_key},
    state::strict::{DISMISSED_FOR, KNOWN_AFTER},
};

use super::*;

const MESH: &str = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\n\
    spec: {allowLoosening: true}\n";
const PERMISSIVE: &str = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\n\
    metadata: {name: account, namespace: bank}\n\
    spec: {targetRefs: [{kind: Service, name: account}], defaultAction: Allow, mtls: {mode: Permissive}}\n";

fn caller(ago: u64) -> Caller {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    Caller {
        address: [192, 0, 2, 7].into(),
        port: 8080,
        first: now - ago,
        last: now - ago,
        refused: None,
        let_in: Some(now - ago),
    }
}

fn called(ago: u64) -> Instance {
    Instance {
        callers: [caller(ago)].into(),
        ..instance()
    }
}

/// A mesh whose account is permissive, and its directory.
async fn permissive(data: &Path) -> (State, tempfile::TempDir) {
    let config = tempfile::tempdir().expect("dir");
    let texts = [
        ("mesh.yaml", MESH),
        ("service.yaml", SERVICE),
        ("workload.yaml", WORKLOAD),
        ("policy.yaml", PERMISSIVE),
    ];
    for (file, text) in texts {
        fs::write(config.path().join(file), text).expect("written");
    }
    let state = State::open(config.path(), data).await.expect("opens");
    state.set_trust_bundle(restart::bundle()).await;
    assert_eq!(mode(&state), MtlsMode::Permissive);
    (state, config)
}

fn strict(config: &Path) {
    let text = PERMISSIVE.replace("Permissive", "Strict");
    fs::write(config.join("policy.yaml"), text).expect("written");
}

fn mode(state: &State) -> MtlsMode {
    let configuration = state.0.configuration.load();
    configuration.compiled.inbound[&name().service].mtls
}

/// Reads the directory. What is said of callers then, object by object.
async fn read(state: &State, config: &Path) -> Vec<(String, String)> {
    let parsed = directory::read(config).await.expect("readable");
    state.apply(parsed, config).await.expect("stored");
    waits(state)
}

fn waits(state: &State) -> Vec<(String, String)> {
    let status = state.status();
    assert!(status.rejected.is_empty(), "{:?}", status.rejected);
    let conditions = status.conditions.into_iter();
    let conditions = conditions.filter(|one| one.reason == "PlaintextCallers");
    conditions.map(|one| (one.object, one.message)).collect()
}

/// Until the mode is that, which is noticed within 5 s.
async fn until(state: &State, wanted: MtlsMode) {
    for _ in 0..2_000 {
        if mode(state) == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is never {wanted:?}");
}

async fn dismiss(state: &State, service: Option<ServiceName>) {
    let done = state.dismiss_callers(service, "olga".to_owned()).await;
    done.expect("stored");
}

#[tokio::test]
async fn the_mode_of_a_service_that_is_called_in_plaintext_waits_and_all_else_flows() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    let config = config.path();
    state.register(&name(), called(30)).expect("room");
    strict(config);
    fs::write(config.join("mesh.yaml"), MESH.replace("true", "false")).expect("written");
    let said = read(&state, config).await;
    let [(object, message)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(object, "AccessPolicy bank/account");
    assert!(
        message.contains("bank/account is called by 192.0.2.7, last seen 20"),
        "{message}"
    );
    assert_eq!(mode(&state), MtlsMode::Permissive);
    let text = state
        .text_of(&object_key("AccessPolicy bank/account").expect("valid"))
        .expect("there");
    assert!(text.contains("Strict"), "in force as it is written: {text}");
    let objects = state.objects();
    let policy = objects
        .iter()
        .find(|one| one.kind == "AccessPolicy")
        .expect("there");
    assert_eq!(
        policy.condition("Accepted").expect("said").reason,
        "Accepted"
    );
    assert_eq!(
        policy.condition("Warning").expect("said").reason,
        "PlaintextCallers"
    );

    // A rule is in force at once, and the mode goes on waiting.
    let ruled = PERMISSIVE.replace("Permissive", "Strict").replace(
        "defaultAction: Allow",
        "defaultAction: Deny, rules: [{to: {methods: [GET]}}]",
    );
    fs::write(config.join("policy.yaml"), ruled).expect("written");
    assert_eq!(read(&state, config).await.len(), 1);
    let access = state.0.configuration.load().compiled.inbound[&name().service]
        .access
        .clone();
    assert!(
        access[0].deny_by_default && access[0].rules.len() == 1,
        "{access:?}"
    );
    assert_eq!(mode(&state), MtlsMode::Permissive);
    // A port that nobody in plaintext could call so far is none for them.
    fs::write(config.join("service.yaml"), SERVICE.replace("8080", "9090")).expect("written");
    assert_eq!(read(&state, config).await, []);
    assert_eq!(mode(&state), MtlsMode::Strict);
}

#[tokio::test]
async fn a_deletion_waits_as_well_until_its_callers_are_dismissed_which_is_in_the_history() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    let config = config.path();
    state.register(&name(), called(30)).expect("room");
    fs::remove_file(config.join("policy.yaml")).expect("there");
    let said = read(&state, config).await;
    assert_eq!(
        said[0].0, "Service bank/account",
        "nobody's word: the default"
    );
    let newest = state.revisions()[0].number;
    dismiss(&state, Some("bank/other".parse().expect("valid"))).await;
    assert_eq!(mode(&state), MtlsMode::Permissive);
    dismiss(&state, Some(name().service)).await;
    assert_eq!(mode(&state), MtlsMode::Strict);
    assert_eq!(waits(&state), []);
    let record = state.revisions()[0].clone();
    assert_eq!(
        (record.number, record.author.as_str()),
        (newest + 1, "olga")
    );
    assert_eq!(
        record.message,
        "Strict in force for bank/account: plaintext callers of bank/account dismissed"
    );
    // The directory says what is in force.
    let parsed = directory::read(config).await.expect("readable");
    assert_eq!(state.apply(parsed, config).await.expect("stored"), None);
}

#[tokio::test]
async fn what_nobody_is_in_the_way_of_comes_into_force_at_once() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let refused = Caller {
        refused: Some(now - 20),
        ..caller(30)
    };
    let refused = Instance {
        callers: [refused].into(),
        ..instance()
    };
    for other in [None, Some(called(86_400)), Some(refused)] {
        let data = tempfile::tempdir().expect("dir");
        let (state, config) = permissive(data.path()).await;
        if let Some(other) = other {
            state.register(&name(), other).expect("room");
        }
        strict(config.path());
        assert_eq!(read(&state, config.path()).await, []);
        assert_eq!(mode(&state), MtlsMode::Strict);
    }
}

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

#[tokio::test]
async fn callers_are_shown_by_the_workload_at_their_address() {
    let data = tempfile::tempdir().expect("dir");
    let (state, _config) = permissive(data.path()).await;
    state.register(&name(), called(30)).expect("room");
    let there = Instance {
        address: "192.0.2.7:15006".parse().expect("valid"),
        ..instance()
    };
    let other: InstanceName = "bank/account/b".parse().expect("valid");
    state.register(&other, there.clone()).expect("room");
    state.publish(Instant::now());
    let [only] = state.callers().try_into().expect("one");
    assert_eq!((only.workload.as_str(), only.port), ("bank/account", 8080));
    assert_eq!(only.mode, "Permissive");

    // Whoever only says that it is there is not taken at its word.
    let claimed = Instance {
        address_is_own: false,
        ..there
    };
    state.register(&other, claimed).expect("room");
    state.publish(Instant::now());
    assert_eq!(state.callers()[0].workload, "");
}
