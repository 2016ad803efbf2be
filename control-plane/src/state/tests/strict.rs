//! What would lock callers out waits until they are gone, or dismissed.

use crate::{registry::callers::Caller, state::strict::DISMISSED_FOR};

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

async fn read(state: &State, config: &Path) -> Option<(String, String)> {
    let parsed = directory::read(config).await.expect("readable");
    state.apply(parsed, config).await.expect("stored");
    let status = state.status();
    let rejected = status.rejected.first()?;
    assert!(rejected.last_good, "{rejected:?}");
    let mistake = rejected.mistakes.first()?;
    Some((rejected.reason.clone(), mistake.message.clone()))
}

#[tokio::test]
async fn a_service_that_is_called_in_plaintext_stays_permissive_until_its_callers_are_dismissed() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    let config = config.path();
    state.register(&name(), called(30)).expect("room");
    strict(config);
    fs::write(config.join("service.yaml"), SERVICE.replace("8080", "9090")).expect("written");
    let (reason, message) = read(&state, config).await.expect("it waits");
    assert_eq!(reason, "PlaintextCallers");
    assert!(
        message.contains("bank/account is called by 192.0.2.7, last seen 20"),
        "{message}"
    );
    assert_eq!(mode(&state), MtlsMode::Permissive);
    assert_eq!(state.status().services[0].ports, [9090], "all else flows");
    let object = state.objects();
    let policy = object.iter().find(|one| one.kind == "AccessPolicy");
    let accepted = policy.and_then(|one| one.condition("Accepted"));
    assert_eq!(accepted.expect("said").reason, "PlaintextCallers");

    // A deletion waits as well: the default is Strict.
    fs::remove_file(config.join("policy.yaml")).expect("there");
    assert!(read(&state, config).await.is_some());
    assert_eq!(mode(&state), MtlsMode::Permissive);

    let mut releases = state.0.released.subscribe();
    state.dismiss_callers(Some(name().service));
    assert!(releases.has_changed().expect("alive"), "it is read again");
    releases.mark_unchanged();
    assert_eq!(read(&state, config).await, None);
    assert_eq!(mode(&state), MtlsMode::Strict);
}

#[tokio::test]
async fn what_nobody_is_in_the_way_of_comes_into_force_at_once() {
    for other in [None, Some(called(86_400))] {
        let data = tempfile::tempdir().expect("dir");
        let (state, config) = permissive(data.path()).await;
        if let Some(other) = other {
            state.register(&name(), other).expect("room");
        }
        strict(config.path());
        assert_eq!(read(&state, config.path()).await, None);
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
    let (_, message) = read(&state, config).await.expect("it waits");
    assert!(message.contains("has just started"), "{message}");

    // Somebody is heard of: that is why it waits from now on.
    let mut releases = state.0.released.subscribe();
    state.register(&name(), called(30)).expect("room");
    tokio::time::timeout(Duration::from_secs(20), releases.changed())
        .await
        .expect("noticed")
        .expect("alive");
    let (_, message) = read(&state, config).await.expect("it waits");
    assert!(message.contains("192.0.2.7"), "{message}");
    tokio::time::advance(crate::state::strict::KNOWN_AFTER).await;
    assert!(read(&state, config).await.is_some(), "the caller is there");
    state.dismiss_callers(None);
    tokio::time::advance(DISMISSED_FOR).await;
    assert!(read(&state, config).await.is_some(), "it was too late");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_control_plane_that_hears_of_nobody_lets_the_change_in() {
    let data = tempfile::tempdir().expect("dir");
    let (first, config) = permissive(data.path()).await;
    drop(first);
    strict(config.path());
    let state = open_when_released(config.path(), data.path()).await;
    assert_eq!(mode(&state), MtlsMode::Permissive);
    let mut releases = state.0.released.subscribe();
    let limit = crate::state::strict::KNOWN_AFTER + Duration::from_secs(20);
    let noticed = tokio::time::timeout(limit, releases.changed()).await;
    noticed.expect("noticed").expect("alive");
    assert_eq!(read(&state, config.path()).await, None);
    assert_eq!(mode(&state), MtlsMode::Strict);
}

#[tokio::test]
async fn a_change_that_waits_is_read_again_when_the_last_caller_is_forgotten() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    // Of its day some seconds are left.
    state.register(&name(), called(86_392)).expect("room");
    strict(config.path());
    assert!(read(&state, config.path()).await.is_some());
    let mut releases = state.0.released.subscribe();
    let noticed = tokio::time::timeout(Duration::from_secs(30), releases.changed()).await;
    noticed.expect("noticed").expect("alive");
    assert_eq!(read(&state, config.path()).await, None);
    assert_eq!(mode(&state), MtlsMode::Strict);
}

#[tokio::test]
async fn going_back_to_a_strict_revision_needs_a_word_of_its_own() {
    let data = tempfile::tempdir().expect("dir");
    let (state, config) = permissive(data.path()).await;
    strict(config.path());
    assert_eq!(read(&state, config.path()).await, None);
    fs::write(config.path().join("policy.yaml"), PERMISSIVE).expect("written");
    assert_eq!(read(&state, config.path()).await, None);
    state.register(&name(), called(30)).expect("room");
    let by = By::rollback(2, "me".to_owned(), String::new());
    let refused = state.roll_back(2, &by).await.expect_err("somebody calls");
    assert!(
        matches!(refused, RollbackError::LocksOut { number: 2, .. }),
        "{refused}"
    );
    assert_eq!(mode(&state), MtlsMode::Permissive);
    let by = By { forced: true, ..by };
    state.roll_back(2, &by).await.expect("forced");
    assert_eq!(mode(&state), MtlsMode::Strict);
}

#[tokio::test]
async fn what_is_applied_whole_is_refused_or_forced() {
    let state = State::new(Box::new(crate::registry::MemoryStore::default())).expect("opens");
    let parsed = |policy: &str| {
        let texts = [MESH, SERVICE, WORKLOAD, policy].join("---\n");
        usher_config::parse::parse_files(&[("mesh.yaml".into(), texts)])
    };
    let by = By::default();
    let first = state.apply_whole(parsed(PERMISSIVE), &by).await;
    assert!(matches!(first, Ok(Decision::New(_))), "{first:?}");
    state.register(&name(), called(30)).expect("room");
    let strict = PERMISSIVE.replace("Permissive", "Strict");
    let refused = state
        .apply_whole(parsed(&strict), &by)
        .await
        .expect("stored");
    let Decision::Refused(rejected) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(rejected[0].reason, "PlaintextCallers");
    assert_eq!(mode(&state), MtlsMode::Permissive);
    let by = By { forced: true, ..by };
    let forced = state.apply_whole(parsed(&strict), &by).await;
    assert!(matches!(forced, Ok(Decision::New(_))), "{forced:?}");
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
