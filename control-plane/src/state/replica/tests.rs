//! Two control planes on one store are one to whoever asks, in any order of writes, also when one was cut off.

use std::{collections::BTreeMap, path::Path, sync::atomic::Ordering};

use futures_util::FutureExt;
use proptest::{
    collection::{btree_set, vec},
    prelude::*,
};
use usher_config::{
    kind::{Kind, ObjectKey},
    model::Revision,
    parse::{Parsed, parse_files},
    wire::discovery::Node,
};

use super::*;
use crate::{
    registry::{
        instances::LEASE,
        shared::{Batch, Event},
        store::{Stored, StoredObject},
    },
    state::{By, Decision, Departure},
    xds::Topic,
};
use played::Hub;

mod callers;
mod farewell;
mod played;
mod set_back;

const WORKLOAD: &str = "apiVersion: usher.dev/v1alpha1\nkind: Workload\n\
    metadata: {name: account, namespace: bank, labels: {app: s1}}\nspec: {serviceAccount: account}\n";

/// These services, and the workload behind the first.
fn configuration(services: &[u8]) -> Parsed {
    let file = |number: &u8| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: bank}}\n\
             spec:\n  selector: {{app: s{number}}}\n  ports: [{{port: 8080}}]\n"
        );
        (format!("{number}.yaml").into(), text)
    };
    let mut files: Vec<_> = services.iter().map(file).collect();
    files.push(("workload.yaml".into(), WORKLOAD.to_owned()));
    parse_files(&files)
}

fn name() -> InstanceName {
    "bank/s1/a".parse().expect("valid")
}

fn instance() -> Instance {
    Instance {
        address: "127.0.0.1:15006".parse().expect("valid"),
        address_is_own: true,
        healthy: true,
        health_reason: String::new(),
        zone: String::new(),
        identity: "spiffe://usher.local/ns/bank/sa/account"
            .parse()
            .expect("valid"),
        revision: 0,
        callers: Default::default(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "never: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

fn endpoints(state: &State) -> usize {
    let all = state.endpoints();
    all.iter().map(|(_, endpoints)| endpoints.len()).sum()
}

#[derive(Debug, Clone)]
enum Step {
    Apply(usize, Vec<u8>),
    /// This one hears nothing until the next step of its own is over.
    Cut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..2, btree_set(1_u8..20, 1..6))
            .prop_map(|(at, services)| Step::Apply(at, services.into_iter().collect())),
        1 => (0_usize..2).prop_map(Step::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_services_ever_have_one_address_and_both_end_alike(steps in vec(step(), 1..10)) {
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        runtime.block_on(async {
            let hub = Arc::<Hub>::default();
            let planes = [hub.join(0).await, hub.join(1).await];
            for step in steps {
                match step {
                    Step::Cut(at) => planes[at].1.cut(true),
                    Step::Apply(at, services) => {
                        let (state, end) = &planes[at];
                        if state.store_health() != Some(Health::Reachable) {
                            let refused = state.apply_whole(configuration(&services), &By::default()).await;
                            assert!(refused.is_err() || matches!(refused, Ok(Decision::Unchanged(_))), "{refused:?}");
                            end.cut(false);
                        }
                        let done = state.apply_whole(configuration(&services), &By::default()).await;
                        assert!(!matches!(done.expect("written"), Decision::Refused(_)));
                    }
                }
                let stored = hub.stored();
                let mut given: Vec<_> = stored.addresses.values().collect();
                given.sort();
                given.dedup();
                assert_eq!(given.len(), stored.addresses.len(), "{:?}", stored.addresses);
            }
            planes.iter().for_each(|(_, end)| end.cut(false));
            let newest = hub.stored().number();
            for (state, _) in &planes {
                until("it follows", || state.status().revision.number == newest).await;
            }
            let seen = |state: &State| {
                let status = state.status();
                let services = status.services.into_iter();
                let services = services.map(|one| (one.name, one.virtual_addresses));
                (status.revision.digest, services.collect::<BTreeMap<_, _>>())
            };
            assert_eq!(seen(&planes[0].0), seen(&planes[1].0));
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_known_renewed_and_ended_at_either() {
    let hub = Arc::<Hub>::default();
    let (one, _) = hub.join(0).await;
    one.apply(configuration(&[1]), Path::new(""))
        .await
        .expect("written");
    let (other, end) = hub.join(1).await;
    let lease = one.enter(&name(), instance()).await.expect("registered");
    assert_eq!(endpoints(&one), 1, "who registered sees it at once");
    let identity = instance().identity;
    let renewal = |healthy| Renewal {
        lease: &lease,
        identity: &identity,
        healthy,
        health_reason: "",
        revision: 1,
        callers: None,
    };
    other.stay(&name(), &renewal(false)).await.expect("renewed");
    assert!(!other.endpoints()[0].1[0].healthy);
    until("the first one hears of it", || {
        !one.endpoints()[0].1[0].healthy
    })
    .await;

    end.cut(true);
    let refused = other.stay(&name(), &renewal(true)).await;
    assert!(matches!(refused, Err(NotWritten::Store(_))), "{refused:?}");
    assert_eq!(endpoints(&other), 1, "what was known is served");
    let report = other.status().store.expect("shared");
    assert!(!report.reachable && report.why == "cut", "{report:?}");
    end.cut(false);

    let stranger = "spiffe://usher.local/ns/bank/sa/other"
        .parse()
        .expect("valid");
    let refused = other.leave(&name(), &lease, &stranger).await;
    assert!(
        matches!(refused, Err(NotWritten::LeaseGone(_))),
        "{refused:?}"
    );
    let departure = other.leave(&name(), &lease, &identity).await.expect("left");
    let deadline = Instant::now() + Duration::from_secs(10);
    assert!(other.has_left(&name().service, departure, deadline).await);
    assert_eq!(endpoints(&other), 0);
    assert_eq!(endpoints(&one), 0, "it has said that nobody calls it there");
    assert!(other.stay(&name(), &renewal(true)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_waits_for_the_proxies_here_also_when_its_event_is_late() {
    let hub = Arc::<Hub>::default();
    let (state, _) = hub.join(0).await;
    let services = configuration(&[1]);
    state.apply(services, Path::new("")).await.expect("written");
    let lease = state.enter(&name(), instance()).await.expect("registered");
    let (connected, identity) = (state.connected(), instance().identity);
    let node = Node {
        id: "bank/caller/a".into(),
        ..Node::default()
    };
    let (caller, _) = connected.joined(&node, &identity, String::new());
    connected.subscribed(caller, Topic::Endpoint, &["bank/s1/*".to_owned()]);
    let generation = || state.0.generation.load(Ordering::SeqCst);
    connected.applied(caller, generation(), None);
    hub.hold_back();
    let departure = state.leave(&name(), &lease, &identity).await.expect("left");
    let service = name().service;
    let soon = || Instant::now() + Duration::from_millis(100);
    assert!(
        !state.has_left(&service, departure, soon()).await,
        "nobody here was told"
    );
    hub.let_go();
    let Departure::Shared(position) = departure else {
        panic!("not alone")
    };
    until("our table has it", || {
        *state.0.position.borrow() >= position
    })
    .await;
    assert!(
        !state.has_left(&service, departure, soon()).await,
        "the caller has not applied it"
    );
    connected.applied(caller, generation(), None);
    let deadline = Instant::now() + Duration::from_secs(10);
    assert!(state.has_left(&service, departure, deadline).await);
}

#[tokio::test]
async fn many_departures_at_once_are_acknowledged_in_few_words() {
    let hub = Arc::<Hub>::default();
    let (state, end) = hub.join(0).await;
    let (_other, other_end) = hub.join(1).await;
    let before = hub.words.load(Ordering::SeqCst);
    let name = |number| format!("bank/s1/{number}").parse().expect("valid");
    let gone = |number| Event::Gone(name(number), number);
    let batch = Batch {
        position: 201,
        events: (2..202).map(gone).collect(),
    };
    hub.send(&batch);
    until("both have it", || {
        let all = [&end, &other_end].map(|end| end.acknowledged(201).now_or_never());
        all.iter().all(|said| *said == Some(Ok(true)))
    })
    .await;
    assert_eq!(*state.0.position.borrow(), 201);
    let words = hub.words.load(Ordering::SeqCst) - before;
    assert!(words <= 10, "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_only_a_newer_version_understands_is_not_left_out() {
    let hub = Arc::<Hub>::default();
    let (state, _) = hub.join(0).await;
    let services = configuration(&[1]);
    state.apply(services, Path::new("")).await.expect("written");
    let before = hub.stored();
    let with = |kind| {
        let mut stored = before.clone();
        let (key, object) = before.objects.first_key_value().expect("a service");
        let (key, text) = (
            ObjectKey {
                kind,
                ..key.clone()
            },
            "kind: Future".to_owned(),
        );
        let object = StoredObject {
            text,
            ..object.clone()
        };
        stored.objects.insert(key, object);
        let mut record = before.revisions[0].clone();
        (record.number, record.digest) = (2, "d2".to_owned());
        stored.revisions.push(record);
        stored
    };
    let told = || {
        let mut conditions = state.status().conditions.into_iter();
        conditions.find(|one| one.reason == "StoreUnreadable")
    };
    for kind in [
        Kind::AccessPolicy,
        Kind::AuthenticationPolicy,
        Kind::HttpRoute,
    ] {
        hub.hold(with(kind));
        until("it is told", || told().is_some()).await;
        let message = told().expect("told").message;
        assert!(message.contains(&format!("{kind} bank/")), "{message}");
        assert_eq!(state.status().revision.number, 1);
        let end = hub.end(1);
        let opened = State::of_replica(Box::new(end.clone()), end).await;
        assert_eq!(opened.is_ok(), kind == Kind::HttpRoute, "{opened:?}");
        let refused = opened.err().map(|error| error.to_string());
        assert!(refused.is_none_or(|error| error.contains(&format!("{kind} bank/"))));
        hub.hold(before.clone());
        until("it is over", || told().is_none()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_is_lost_when_it_was_there_and_stays_away() {
    let away = || Health::Unreachable {
        since: std::time::SystemTime::UNIX_EPOCH,
        why: String::new(),
    };
    let health = watch::Sender::new(away());
    let lost = lost(health.subscribe());
    tokio::pin!(lost);
    let long = 10 * LOST_AFTER;
    assert!(
        timeout(ELSEWHERE_AFTER / 2, &mut lost).await.is_err(),
        "it never was there, for a while"
    );
    health.send_replace(Health::Reachable);
    assert!(timeout(long, &mut lost).await.is_err());
    health.send_replace(away());
    assert!(timeout(LOST_AFTER / 2, &mut lost).await.is_err());
    health.send_replace(Health::Reachable);
    assert!(
        timeout(long, &mut lost).await.is_err(),
        "it came back in time"
    );
    health.send_replace(away());
    assert!(timeout(long, &mut lost).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_store_is_away_is_sent_on_after_a_while() {
    let away = Health::Unreachable {
        since: std::time::SystemTime::UNIX_EPOCH,
        why: String::new(),
    };
    let health = watch::Sender::new(away);
    let lost = lost(health.subscribe());
    tokio::pin!(lost);
    let before = ELSEWHERE_AFTER - Duration::from_secs(1);
    assert!(timeout(before, &mut lost).await.is_err());
    assert!(timeout(Duration::from_secs(2), &mut lost).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_without_its_store_refuses_a_renewal_at_once() {
    let hub = Arc::<Hub>::default();
    let (state, end) = hub.join(0).await;
    let services = configuration(&[1]);
    state.apply(services, Path::new("")).await.expect("written");
    let lease = state.enter(&name(), instance()).await.expect("registered");
    end.cut(true);
    let renewal = Renewal {
        lease: &lease,
        identity: &instance().identity,
        healthy: true,
        health_reason: "",
        revision: 0,
        callers: None,
    };
    let asked = tokio::time::Instant::now();
    let refused = state.stay(&name(), &renewal).await;
    assert!(matches!(refused, Err(NotWritten::Store(_))), "{refused:?}");
    assert_eq!(asked.elapsed(), Duration::ZERO);
}
