//! The stream against a control plane in this process.

use tokio::task::JoinHandle;
use usher_config::value::ServiceName;

use super::*;
use crate::{
    control_plane::fake::{Fake, WORKLOAD},
    telemetry::metrics::Metrics,
    xds::{Discovery, discovery},
};

struct Rig {
    store: Arc<Store>,
    discovery: Discovery,
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn start(control_plane: ControlPlane, fake: &Fake, directory: &StateDir) -> Rig {
    let own: ServiceName = "bank/transaction".parse().unwrap();
    let store = Arc::new(Store::new(own.clone(), 1, Metrics::new(1)));
    let (discovery, questions) = discovery();
    let parts = Parts {
        control_plane,
        material: Arc::new(ArcSwap::from_pointee(fake.authority.material(WORKLOAD))),
        store: store.clone(),
        questions,
        trust: watch::Sender::new(None),
        opened: Arc::default(),
        directory: directory.clone(),
        roots: vec![fake.authority.root.clone()],
        contact: Metrics::new(1).control_plane_contact(),
    };
    let (leave, left) = oneshot::channel();
    let task = tokio::spawn(Xds::new(parts, Subscription::new(own, "i", [])).run(left));
    Rig {
        store,
        discovery,
        leave,
        task,
    }
}

#[tokio::test]
async fn a_dialled_service_arrives_with_its_endpoints_and_survives_a_restart_alone() {
    let fake = Fake::start().await;
    let directory = tempfile::tempdir().unwrap();
    let directory = StateDir::open(directory.path()).unwrap();
    let account: ServiceName = "bank/account".parse().unwrap();

    let rig = start(fake.control_plane.clone(), &fake, &directory);
    assert_eq!(rig.discovery.resolve(&account).await, Resolution::Found);
    assert_eq!(
        rig.discovery.resolve(&"bank/nobody".parse().unwrap()).await,
        Resolution::Unknown
    );
    let snapshot = rig.store.load();
    assert_eq!(snapshot.service(&account).unwrap().endpoints.len(), 1);
    assert_eq!(snapshot.revision().unwrap().number, 7);
    drop(rig.leave);
    rig.task.await.unwrap();

    let nobody = ControlPlane::new("127.0.0.1:1");
    let rig = start(nobody, &fake, &directory);
    let snapshot = rig.store.load();
    assert_eq!(snapshot.service(&account).unwrap().endpoints.len(), 1);
    assert_eq!(rig.discovery.resolve(&account).await, Resolution::Found);
    assert_eq!(
        rig.discovery.resolve(&"bank/nobody".parse().unwrap()).await,
        Resolution::TimedOut
    );
}

#[tokio::test]
async fn what_was_known_of_another_mesh_is_not_served() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let directory = tempfile::tempdir().unwrap();
    let directory = StateDir::open(directory.path()).unwrap();
    let account: ServiceName = "bank/account".parse().unwrap();
    let rig = start(other.control_plane.clone(), &other, &directory);
    assert_eq!(rig.discovery.resolve(&account).await, Resolution::Found);
    drop(rig.leave);
    rig.task.await.unwrap();

    let rig = start(ControlPlane::new("127.0.0.1:1"), &fake, &directory);
    let snapshot = rig.store.load();
    assert!(snapshot.revision().is_none() && snapshot.service(&account).is_none());
    let kept = last_known_good::load(&directory).unwrap();
    assert_eq!(kept, None, "nobody takes it for something to serve from");
}

#[tokio::test]
async fn a_stream_that_is_asked_to_come_again_does_so_in_its_moment_over_the_same_connection() {
    let fake = Fake::start().await;
    let mut later = Status::unavailable("so many are here");
    let metadata = later.metadata_mut();
    metadata.insert(usher_config::wire::RETRY_PUSHBACK, 1_500.into());
    fake.refuses_streams.lock().unwrap().push(later);
    let directory = tempfile::tempdir().unwrap();
    let directory = StateDir::open(directory.path()).unwrap();
    let account: ServiceName = "bank/account".parse().unwrap();
    let begun = Instant::now();
    let rig = start(fake.control_plane.clone(), &fake, &directory);
    while rig.discovery.resolve(&account).await != Resolution::Found {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert!(begun.elapsed() >= Duration::from_millis(1_500));
    assert_eq!(fake.calls(), ["stream refused", "stream"]);
    assert_eq!(fake.connections(), 1);
}
