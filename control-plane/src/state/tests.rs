//! From a directory to a snapshot, and through a restart.

use std::fs;

use usher_config::{
    model::{MtlsMode, Revision},
    value::InstanceName,
};

use crate::registry::instances::Instance;

use super::*;

mod bounds;
mod restart;
mod strict;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: account, namespace: bank}\n\
    spec:\n  selector: {app: account}\n  ports: [{port: 8080}]\n";
const WORKLOAD: &str = "apiVersion: usher.dev/v1alpha1\nkind: Workload\n\
    metadata: {name: account, namespace: bank, labels: {app: account}}\nspec: {serviceAccount: account}\n";

fn name() -> InstanceName {
    "bank/account/a".parse().expect("valid")
}

fn identity() -> SpiffeId {
    "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid")
}

fn instance() -> Instance {
    Instance {
        address: "127.0.0.1:15006".parse().expect("valid"),
        address_is_own: true,
        healthy: true,
        health_reason: String::new(),
        zone: String::new(),
        identity: identity(),
        revision: 0,
        callers: Default::default(),
    }
}

async fn until(snapshots: &mut watch::Receiver<Arc<Snapshot>>, what: impl Fn(&Snapshot) -> bool) {
    let wait = snapshots.wait_for(|snapshot| what(snapshot));
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect("in time")
        .expect("alive");
}

#[tokio::test]
async fn an_edit_flows_a_bad_edit_does_not_and_numbers_go_on_after_a_restart() {
    let (config, data) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let (config, data) = (config.path(), data.path());
    fs::write(config.join("service.yaml"), SERVICE).expect("written");
    fs::write(config.join("workload.yaml"), WORKLOAD).expect("written");

    let first = State::open(config, data).await.expect("opens");
    assert_eq!(first.status().revision.number, 1);
    assert!(first.may_be(&identity(), &name().service));
    let addresses = first.status().services[0].virtual_addresses.clone();
    let mut snapshots = first.snapshots();
    let follower = first.clone();
    let directory = config.to_owned();
    let task = tokio::spawn(async move { follower.run_directory(directory).await });

    fs::write(config.join("service.yaml"), SERVICE.replace("8080", "9090")).expect("written");
    until(&mut snapshots, |snapshot| snapshot.revision().number == 2).await;

    fs::write(
        config.join("service.yaml"),
        SERVICE.replace("8080", "909090"),
    )
    .expect("written");
    let deadline = Instant::now() + Duration::from_secs(10);
    while first.status().rejected.is_empty() {
        assert!(Instant::now() < deadline, "the mistake is reported");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = first.status();
    assert_eq!(status.revision.number, 2);
    assert_eq!(
        status.services[0].ports,
        [9090],
        "the last good version runs"
    );
    assert!(status.rejected[0].last_good);
    assert!(
        status.rejected[0].mistakes[0]
            .at
            .starts_with("service.yaml:6:"),
        "{status:?}"
    );

    task.abort();
    let _ = task.await;
    drop(snapshots);
    drop(first);
    let second = open_when_released(config, data).await;
    let status = second.status();
    assert_eq!(status.revision.number, 2, "no change, no new number");
    assert_eq!(status.services[0].ports, [9090], "known from the store");
    assert_eq!(status.services[0].virtual_addresses, addresses);
    assert_eq!(second.revisions().len(), 2);
}

/// The first state's tasks let go of the file within a tick.
async fn open_when_released(config: &Path, data: &Path) -> State {
    for _ in 0..100 {
        match State::open(config, data).await {
            Ok(state) => return state,
            Err(OpenError::Store(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store is never released");
}

async fn configured() -> State {
    let state = State::new(Box::new(crate::registry::MemoryStore::default())).expect("empty");
    let files = [
        ("a.yaml".into(), SERVICE.to_owned()),
        ("b.yaml".into(), WORKLOAD.to_owned()),
    ];
    let parsed = usher_config::parse::parse_files(&files);
    state
        .apply(parsed, Path::new(""))
        .await
        .expect("accepted")
        .expect("new");
    state
}

fn endpoints(snapshot: &Snapshot) -> usize {
    snapshot
        .endpoints
        .get("bank/account")
        .map_or(0, |set| set.len())
}

#[tokio::test]
async fn an_instance_is_an_endpoint_from_registration_to_deregistration() {
    let state = configured().await;
    let mut snapshots = state.snapshots();
    let lease = state.register(&name(), instance()).expect("room");
    until(&mut snapshots, |snapshot| endpoints(snapshot) == 1).await;
    let revision = state.status().revision.number;
    let generation = state
        .deregister(&name(), &lease, &identity())
        .expect("leased");
    until(&mut snapshots, |snapshot| {
        endpoints(snapshot) == 0 && snapshot.generation >= generation
    })
    .await;
    assert_eq!(
        state.status().revision.number,
        revision,
        "instances are no configuration"
    );
}

#[tokio::test]
async fn an_instance_that_configuration_no_longer_lets_be_is_no_endpoint() {
    let state = configured().await;
    let mut snapshots = state.snapshots();
    state.register(&name(), instance()).expect("room");
    until(&mut snapshots, |snapshot| endpoints(snapshot) == 1).await;
    let files = [("a.yaml".into(), SERVICE.to_owned())];
    let parsed = usher_config::parse::parse_files(&files);
    state
        .apply(parsed, Path::new(""))
        .await
        .expect("accepted")
        .expect("new");
    until(&mut snapshots, |snapshot| endpoints(snapshot) == 0).await;
    assert!(!state.may_be(&identity(), &name().service));
}

#[tokio::test]
async fn the_same_configuration_again_is_no_new_revision() {
    let state = configured().await;
    let files = [
        ("b.yaml".into(), WORKLOAD.to_owned()),
        ("c.yaml".into(), SERVICE.to_owned()),
    ];
    let parsed = usher_config::parse::parse_files(&files);
    assert_eq!(
        state.apply(parsed, Path::new("")).await.expect("accepted"),
        None
    );
}

#[tokio::test]
async fn the_first_trust_bundle_fixes_the_trust_domain() {
    let state = configured().await;
    let trust_domain: TrustDomain = "usher.local".parse().expect("valid");
    let bundle = TrustBundle {
        trust_domain,
        version: 1,
        roots: vec![vec![1]],
    };
    state.set_trust_bundle(bundle).await;
    let mut snapshots = state.snapshots();
    until(&mut snapshots, |snapshot| snapshot.trust_bundle.is_some()).await;
    let mesh = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {trustDomain: other.test}\n";
    let files = [
        ("a.yaml".into(), SERVICE.to_owned()),
        ("b.yaml".into(), WORKLOAD.to_owned()),
        ("m.yaml".into(), mesh.to_owned()),
    ];
    state
        .apply(usher_config::parse::parse_files(&files), Path::new(""))
        .await
        .expect("accepted");
    assert_eq!(state.trust_domain().to_string(), "usher.local");
    assert_eq!(state.status().rejected.len(), 1);
}

#[tokio::test]
async fn a_workload_that_only_calls_is_shown_its_own_inbound_policy() {
    let state = State::new(Box::new(crate::registry::MemoryStore::default())).expect("empty");
    let files = [("b.yaml".into(), WORKLOAD.to_owned())];
    let parsed = usher_config::parse::parse_files(&files);
    state
        .apply(parsed, Path::new(""))
        .await
        .expect("accepted")
        .expect("new");
    let mut snapshots = state.snapshots();
    until(&mut snapshots, |snapshot| {
        snapshot.configured.inbound.contains_key("bank/account")
    })
    .await;
    let stranger = "spiffe://usher.local/ns/bank/sa/other"
        .parse()
        .expect("valid");
    let snapshot = snapshots.borrow().clone();
    assert!(snapshot.may_be(&identity(), "bank/account"));
    assert!(!snapshot.may_be(&stranger, "bank/account"));
}

#[tokio::test]
async fn an_account_is_declared_while_its_workload_or_its_last_good_version_is_there() {
    let state = configured().await;
    let declared = || {
        let id = identity();
        state.declares(&id.namespace, &id.service_account)
    };
    let apply = async |workload: &str| {
        let files = [
            ("a.yaml".into(), SERVICE.to_owned()),
            ("b.yaml".into(), workload.to_owned()),
        ];
        let parsed = usher_config::parse::parse_files(&files);
        state.apply(parsed, Path::new("")).await.expect("accepted");
    };
    assert!(declared());
    apply(&WORKLOAD.replace("serviceAccount: account", "serviceAccount: -")).await;
    assert!(declared(), "a slip of the pen ends nobody");
    apply(&WORKLOAD.replace("serviceAccount: account", "serviceAccount: other")).await;
    assert!(!declared());
    apply(WORKLOAD).await;
    assert!(declared());
    apply("# gone").await;
    assert!(!declared());
}

#[tokio::test]
async fn an_account_that_is_no_longer_allowed_holds_no_name() {
    let state = configured().await;
    state.register(&name(), instance()).expect("room");
    let other = Instance {
        identity: "spiffe://usher.local/ns/bank/sa/other"
            .parse()
            .expect("valid"),
        ..instance()
    };
    assert!(state.register(&name(), other.clone()).is_err());
    let files = [
        ("a.yaml".into(), SERVICE.to_owned()),
        (
            "b.yaml".into(),
            WORKLOAD.replace("serviceAccount: account", "serviceAccount: other"),
        ),
    ];
    let parsed = usher_config::parse::parse_files(&files);
    state.apply(parsed, Path::new("")).await.expect("accepted");
    state
        .register(&name(), other)
        .expect("its holder may not be this service any more");
}

#[test]
fn nothing_is_read_or_compiled_on_an_async_thread() {
    use futures_util::FutureExt as _;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let state = configured().await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        // The only thread for blocking work is busy: whatever ends all the same was not done there.
        let busy = tokio::task::spawn_blocking(move || held.recv());
        let files = [
            ("a.yaml".into(), SERVICE.to_owned()),
            ("b.yaml".into(), WORKLOAD.to_owned()),
        ];
        // No change, hence nothing for the store, whose disk would be waited for in any case.
        let parsed = usher_config::parse::parse_files(&files);
        let mut applying = std::pin::pin!(state.apply(parsed, Path::new("")));
        assert!((&mut applying).now_or_never().is_none());
        release.send(()).expect("held");
        busy.await.expect("no panic").expect("released");
        assert_eq!(applying.await.expect("accepted"), None);
    });
}

#[tokio::test]
async fn of_two_configurations_the_one_that_came_last_is_in_force() {
    let state = configured().await;
    let version = |port: &str| {
        let files = [
            ("a.yaml".into(), SERVICE.replace("8080", port)),
            ("b.yaml".into(), WORKLOAD.to_owned()),
        ];
        usher_config::parse::parse_files(&files)
    };
    let (first, second) = tokio::join!(
        state.apply(version("1001"), Path::new("")),
        state.apply(version("1002"), Path::new("")),
    );
    let number = |revision: Option<Revision>| revision.expect("new").number;
    assert_eq!(number(first.expect("accepted")), 2);
    assert_eq!(number(second.expect("accepted")), 3);
    assert_eq!(state.status().services[0].ports, [1002]);
}

#[tokio::test]
async fn a_service_is_found_by_its_virtual_address_and_by_its_instances() {
    let state = configured().await;
    let mut snapshots = state.snapshots();
    let virtual_address = state.status().services[0].virtual_addresses[0];
    let elsewhere = Instance {
        address: "10.1.2.3:15006".parse().expect("valid"),
        ..instance()
    };
    let lease = state.register(&name(), elsewhere).expect("room");
    let other: InstanceName = "bank/account/b".parse().expect("valid");
    let somebody_elses = Instance {
        address: "203.0.113.7:443".parse().expect("valid"),
        address_is_own: false,
        ..instance()
    };
    state.register(&other, somebody_elses).expect("room");
    until(&mut snapshots, |snapshot| endpoints(snapshot) == 2).await;
    let snapshot = snapshots.borrow().clone();
    let at = |address: &str| {
        snapshot
            .services_at(address.parse().expect("valid"))
            .to_vec()
    };
    let account: Vec<Arc<str>> = vec!["bank/account".into()];
    assert_eq!(at(&virtual_address.to_string()), account);
    assert_eq!(at("10.1.2.3"), account);
    assert!(at("10.1.2.4").is_empty());
    assert!(at("203.0.113.7").is_empty(), "said, and not proven");
    assert!(at("127.0.0.1").is_empty(), "another place on every machine");
    state
        .deregister(&name(), &lease, &identity())
        .expect("leased");
    until(&mut snapshots, |snapshot| endpoints(snapshot) == 1).await;
    let gone = snapshots.borrow().clone();
    assert!(
        gone.services_at("10.1.2.3".parse().expect("valid"))
            .is_empty()
    );
}
