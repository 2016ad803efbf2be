//! Registration against a control plane in this process.

use tokio::time::timeout;

use super::*;
use crate::{
    callers::{Callers, Who},
    control_plane::fake::{Fake, WORKLOAD},
};

struct Rig {
    fake: Fake,
    health: watch::Sender<Report>,
    leave: mpsc::Sender<Deregister>,
    task: tokio::task::JoinHandle<Result<(), Exit>>,
}

impl Rig {
    /// Whether nobody calls it any more, as far as it knows.
    async fn leave(&self) -> bool {
        let (confirmed, confirmation) = oneshot::channel();
        let wait = Duration::from_secs(3);
        let leave = Deregister { wait, confirmed };
        self.leave.send(leave).await.unwrap();
        confirmation.await.unwrap()
    }
}

fn registration(
    (fake, control_plane): (&Fake, ControlPlane),
    address: &str,
    health: watch::Receiver<Report>,
) -> Registration {
    let service: ServiceName = "bank/transaction".parse().unwrap();
    let metrics = crate::telemetry::metrics::Metrics::new(1);
    Registration {
        control_plane,
        material: Arc::new(ArcSwap::from_pointee(fake.authority.material(WORKLOAD))),
        store: Arc::new(Store::new(service.clone(), 1, metrics)),
        service,
        instance: "i".parse().unwrap(),
        address: address.parse().unwrap(),
        zone: String::new(),
        health,
        greeted: Arc::default(),
        callers: Lists::new(1),
        asked: None,
        guarded: None,
    }
}

async fn start(address: &str, guarded: Option<Guarded>) -> Rig {
    let fake = Fake::start().await;
    let (health, reported) = watch::channel(Report::default());
    let (leave, commands) = mpsc::channel(1);
    let of = (&fake, fake.control_plane.clone());
    let registration = Registration {
        guarded,
        ..registration(of, address, reported)
    };
    Rig {
        fake,
        health,
        leave,
        task: tokio::spawn(registration.run(commands)),
    }
}

async fn eventually(fake: &Fake, expected: &str) {
    let seen = async {
        while !fake.calls().iter().any(|call| call == expected) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = timeout(Duration::from_secs(10), seen).await;
    assert!(seen.is_ok(), "{expected} is missing in {:?}", fake.calls());
}

#[tokio::test]
async fn an_instance_registers_renews_tells_its_health_and_leaves() {
    let rig = start("10.0.0.1:15006", None).await;
    eventually(&rig.fake, "register 10.0.0.1:15006 healthy=false").await;
    eventually(&rig.fake, "renew healthy=false").await;
    rig.health.send_replace(Report {
        health: Health::Unhealthy,
        failure: Some("GET / → 404".into()),
    });
    eventually(&rig.fake, "renew healthy=false because GET / → 404").await;
    rig.health.send_replace(Report {
        health: Health::Healthy,
        failure: None,
    });
    eventually(&rig.fake, "renew healthy=true").await;

    rig.fake.leases.lock().unwrap().clear();
    eventually(&rig.fake, "register 10.0.0.1:15006 healthy=true").await;

    assert!(rig.leave().await);
    assert!(rig.task.await.unwrap().is_ok());
    assert_eq!(rig.fake.calls().last().unwrap(), "deregister wait=3000");
    assert_eq!(rig.fake.connections(), 1, "no handshake for each call");
}

#[tokio::test]
async fn a_lease_that_was_lost_is_had_anew_to_leave() {
    // After each: refused for good, so that nobody was ever told; and by who may have done it all the same.
    let refused = Status::permission_denied("not you");
    let silent = Status::unavailable("not now");
    for (before, after, confirmed, last) in [
        (Some(refused), None, true, "register refused"),
        (None, Some(silent.clone()), false, "register refused"),
        (Some(silent), None, true, "deregister wait=3000"),
    ] {
        let rig = start("10.0.0.1:15006", None).await;
        let registers = before.is_none();
        *rig.fake.registration.lock().unwrap() = before;
        let first = if registers {
            "renew healthy=false"
        } else {
            "register refused"
        };
        eventually(&rig.fake, first).await;
        if let Some(status) = after {
            *rig.fake.registration.lock().unwrap() = Some(status);
            rig.fake.leases.lock().unwrap().clear();
            eventually(&rig.fake, "register refused").await;
        } else if last != "register refused" {
            *rig.fake.registration.lock().unwrap() = None;
        }
        assert_eq!(rig.leave().await, confirmed, "{:?}", rig.fake.calls());
        assert_eq!(rig.fake.calls().last().unwrap(), last);
    }
}

#[tokio::test]
async fn an_unspecified_address_becomes_the_one_that_reaches_the_control_plane() {
    let rig = start("0.0.0.0:15006", None).await;
    eventually(&rig.fake, "register 127.0.0.1:15006 healthy=false").await;
}

#[tokio::test]
async fn an_exposed_application_is_not_registered() {
    let application = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = application.local_addr().unwrap().port();
    let guarded = Guarded {
        application: u32::from(port).try_into().unwrap(),
        inbound: "127.0.0.1:15006".parse().unwrap(),
        transparent: false,
    };
    let rig = start("10.0.0.1:15006", Some(guarded)).await;
    assert!(matches!(
        rig.task.await.unwrap(),
        Err(Exit::ApplicationExposed { .. })
    ));
    let intercepted = Guarded {
        transparent: true,
        ..guarded
    };
    // What answers where the rules would bear witness is the application itself, which cannot prove to be us.
    std::thread::spawn(move || while application.accept().is_ok() {});
    let rig = start("10.0.0.1:15006", Some(intercepted)).await;
    assert!(matches!(
        rig.task.await.unwrap(),
        Err(Exit::NotIntercepted { .. })
    ));
    assert!(rig.fake.calls().is_empty());
}

#[tokio::test]
async fn an_application_that_turns_out_to_be_exposed_is_taken_out_again() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let guarded = Guarded {
        application: u32::from(port).try_into().unwrap(),
        inbound: "127.0.0.1:15006".parse().unwrap(),
        transparent: false,
    };
    let rig = start("10.0.0.1:15006", Some(guarded)).await;
    eventually(&rig.fake, "register 10.0.0.1:15006 healthy=false").await;
    let _application = std::net::TcpListener::bind(("0.0.0.0", port)).unwrap();
    assert!(matches!(
        rig.task.await.unwrap(),
        Err(Exit::ApplicationExposed { .. })
    ));
    assert_eq!(rig.fake.calls().last().unwrap(), "deregister wait=0");
}

#[tokio::test]
async fn a_pod_that_was_asked_to_end_is_told_with_its_next_renewal_once() {
    let fake = Fake::start().await;
    let (_health, reported) = watch::channel(Report::default());
    let of = (&fake, fake.control_plane.clone());
    let (asked, mut told) = oneshot::channel();
    let registration = Registration {
        asked: Some(asked),
        ..registration(of, "10.0.0.1:15006", reported)
    };
    let (_leave, commands) = mpsc::channel(1);
    let task = tokio::spawn(registration.run(commands));
    eventually(&fake, "renew healthy=false").await;
    assert!(told.try_recv().is_err(), "nobody has asked it to end");
    fake.leave.store(true, std::sync::atomic::Ordering::Relaxed);
    let told = tokio::time::timeout(Duration::from_secs(10), told).await;
    assert_eq!(told.expect("in time"), Ok(()));
    // It goes on renewing until it has left.
    let renewals = fake.calls().len();
    while fake.calls().len() < renewals + 2 {
        tokio::task::yield_now().await;
    }
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_renewal_leaves_time_for_two_more_control_planes_when_one_says_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control_plane = ControlPlane::new(&silent.local_addr().unwrap().to_string());
    let fake = Fake::start().await;
    let (_health, reported) = watch::channel(Report::default());
    let registration = registration((&fake, control_plane.clone()), "10.0.0.1:15006", reported);
    let lease = Lease {
        lease_id: "l".to_owned(),
        ttl_ms: 15_000,
        leave: false,
    };
    let (line, began) = (
        control_plane.line(registration.material.clone()),
        Instant::now(),
    );
    let renewed = registration
        .renew(&line, &lease, &Report::default(), None)
        .await;
    assert_eq!(renewed.unwrap_err().code(), Code::DeadlineExceeded);
    let ttl = Duration::from_millis(lease.ttl_ms);
    let pauses = Duration::from_secs(1);
    assert!(
        ttl / 3 + 3 * began.elapsed() + pauses <= ttl,
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn who_calls_in_plaintext_is_told_once_and_to_whoever_it_registers_with() {
    let fake = Fake::start().await;
    let (_health, reported) = watch::channel(Report::default());
    let (_leave, commands) = mpsc::channel(1);
    let registration = registration(
        (&fake, fake.control_plane.clone()),
        "10.0.0.1:15006",
        reported,
    );
    let callers = Callers::new(registration.callers.clone(), 0);
    let task = tokio::spawn(registration.run(commands));
    eventually(&fake, "renew healthy=false").await;

    let address = "192.0.2.7".parse().unwrap();
    let calling = callers.call(Who {
        address,
        port: None,
    });
    callers.show();
    eventually(&fake, "renew healthy=false called by 192.0.2.7").await;
    drop(calling);
    callers.show();

    // One that has forgotten us hears all of it.
    fake.leases.lock().unwrap().clear();
    eventually(
        &fake,
        "register 10.0.0.1:15006 healthy=false called by 192.0.2.7",
    )
    .await;
    let calls = fake.calls();
    let told = calls
        .iter()
        .filter(|call| call.starts_with("renew") && call.contains("called by"));
    assert_eq!(told.count(), 1, "{calls:?}");
    task.abort();
}
