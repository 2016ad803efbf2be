//! What would lock callers out waits until they are gone, or dismissed.

use usher_config::value::ServiceName;

use crate::{
    registry::{callers::Caller, object_key},
    state::strict::{DISMISSED_FOR, KNOWN_AFTER},
};

use super::*;

mod ends;

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
