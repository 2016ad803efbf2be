//! What is shown is what there is, and not older than it may be.

use std::path::Path;

use usher_config::parse::parse_files;

use super::*;
use crate::registry::{MemoryStore, instances::Instance};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: account, namespace: bank}\n\
    spec: {selector: {app: account}, ports: [{port: 8080}]}\n---\n\
    apiVersion: usher.dev/v1alpha1\nkind: Workload\n\
    metadata: {name: account, namespace: bank, labels: {app: account}}\nspec: {serviceAccount: account}\n";

async fn apply(state: &State, text: &str) {
    let parsed = parse_files(&[("a.yaml".into(), text.to_owned())]);
    let applied = state.apply(parsed, Path::new("")).await;
    applied.expect("accepted").expect("new");
}

async fn state() -> State {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    apply(&state, SERVICE).await;
    state
}

fn register(state: &State, name: &str) {
    let instance = Instance {
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
    };
    let name = format!("bank/account/{name}").parse().expect("valid");
    state.register(&name, instance).expect("registered");
}

#[tokio::test]
async fn it_is_what_there_is_and_whoever_changed_something_sees_it() {
    let state = state().await;
    let shown = state.shown().await.expect("seen");
    assert_eq!(shown.status, state.status());
    assert_eq!(shown.objects, state.objects());
    let json = state.shown_status_json().await.expect("seen");
    let read: StatusReport = serde_json::from_slice(&json).expect("written");
    assert_eq!(read.services, shown.status.services);

    register(&state, "a");
    let shown = state.shown().await.expect("seen");
    assert_eq!(shown.status.services[0].endpoints.len(), 1);
    apply(&state, &SERVICE.replace("8080", "9090")).await;
    let shown = state.shown().await.expect("seen");
    assert_eq!(shown.status.services[0].ports, [9090]);
    assert_eq!(shown.status.revision.number, 2);
}

#[tokio::test]
async fn many_who_ask_at_once_have_one_look() {
    let state = state().await;
    let (one, other) = tokio::join!(state.shown(), state.shown());
    assert!(Arc::ptr_eq(&one.expect("seen"), &other.expect("seen")));
}

/// Seen just now, in so long.
fn kept(state: &State, took: Duration) -> Kept {
    let seen = state.seen();
    let (status, objects) = state.look();
    Kept {
        shown: Arc::new(Shown {
            status,
            objects,
            json: OnceLock::new(),
        }),
        seen,
        began: Instant::now(),
        took,
    }
}

#[tokio::test]
async fn it_is_shown_again_for_as_long_as_it_was_worth() {
    let state = state().await;
    let (quick, slow) = (Duration::from_millis(1), Duration::from_millis(60));
    let (now, same) = (Instant::now(), state.seen());
    let progressed = Seen {
        progress: same.progress + 1,
        ..same.clone()
    };
    let changed = Seen {
        generation: same.generation + 1,
        ..progressed.clone()
    };
    let other = self::state().await;
    let configured = Seen {
        configuration: other.seen().configuration,
        ..same.clone()
    };
    // In ms, the oldest that does; none does: 0.
    for (took, seen, most) in [
        (quick, &same, 10),
        (quick, &progressed, 0),
        (quick, &changed, 0),
        (slow, &same, 600),
        (slow, &progressed, 600),
        (slow, &changed, 120),
        (slow, &configured, 0),
        (Duration::from_secs(3), &same, 1_000),
    ] {
        let mut kept = kept(&state, took);
        // The state goes on by itself meanwhile.
        (kept.began, kept.seen) = (now, same.clone());
        for age in [0, 9, 10, 119, 120, 599, 600, 999, 1_000] {
            let later = now + Duration::from_millis(age);
            assert_eq!(kept.holds(seen, later), age < most, "{took:?} {age} {most}");
        }
    }
}
