//! An earlier configuration comes back whole, stays, and lets go.

use std::path::Path;

use usher_config::parse::parse_files;

use super::*;
use crate::registry::MemoryStore;

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n---\n"
    )
}

async fn write(state: &State, texts: &[String]) -> Option<Revision> {
    let parsed = parse_files(&[("mesh.yaml".into(), texts.concat())]);
    let applied = state.apply(parsed, Path::new("")).await;
    applied.expect("the store works")
}

fn ports(state: &State) -> BTreeMap<String, Vec<u16>> {
    let services = state.status().services.into_iter();
    services
        .map(|service| (service.name, service.ports))
        .collect()
}

fn by(to: u64) -> By {
    By::rollback(to, "olga".to_owned(), "too bold".to_owned())
}

/// Three revisions: `a`; `a` changed and `b`; `b` alone.
async fn three() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    let state = State::new(Box::new(Arc::clone(&store))).expect("a state");
    write(&state, &[service("a", 1)]).await;
    write(&state, &[service("a", 2), service("b", 3)]).await;
    write(&state, &[service("b", 3)]).await;
    store
}

fn opened(store: &Arc<MemoryStore>) -> State {
    State::new(Box::new(Arc::clone(store))).expect("a state")
}

#[tokio::test]
async fn of_each_object_that_waits_it_is_said_however_many_there_are() {
    let store = three().await;
    let state = opened(&store);
    state.roll_back(1, &by(1)).await.expect("done");
    let edit: Vec<_> = (0..150)
        .map(|number| service(&format!("s{number}"), 3))
        .collect();
    assert_eq!(write(&state, &edit).await, None, "it waits");
    let objects = state.objects();
    let is_held = |object: &&crate::status::ObjectReport| {
        object
            .condition("Accepted")
            .is_some_and(|one| one.reason == "RevisionHeld")
    };
    // `a` is to go.
    assert_eq!(objects.iter().filter(is_held).count(), 151);
    assert_eq!(state.status().waiting.len(), 100, "a list for people");
}

#[tokio::test]
async fn an_earlier_revision_is_in_force_and_held_over_a_restart() {
    let store = three().await;
    let state = opened(&store);
    assert_eq!(state.roll_back(1, &by(1)).await.expect("done").number, 4);
    assert_eq!(ports(&state), [("a".to_owned(), vec![1])].into());
    let edit = [service("b", 3), service("c", 4)];
    for state in [state, opened(&store)] {
        assert_eq!(write(&state, &edit).await, None, "it waits");
        let status = state.status();
        assert_eq!((status.pinned, status.revision.number), (Some(1), 4));
        let waiting = [
            "Service default/a",
            "Service default/b",
            "Service default/c",
        ];
        assert_eq!(status.waiting, waiting);
        assert_eq!(status.revision.origin, "rollback to 1");
        assert_eq!(status.revision.author, "olga");
        assert_eq!(ports(&state), [("a".to_owned(), vec![1])].into());
    }
    let state = opened(&store);
    assert_eq!(state.release(&By::default()).await.expect("done").number, 5);
    assert_eq!(ports(&state), [("a".to_owned(), vec![1])].into());
    let revision = write(&state, &edit).await.expect("in force now");
    assert_eq!(revision.number, 6);
    let expected = [("b".to_owned(), vec![3]), ("c".to_owned(), vec![4])];
    assert_eq!(ports(&state), expected.into());
    assert_eq!(state.status().pinned, None);
}

#[tokio::test]
async fn every_revision_can_be_gone_back_to_also_from_an_earlier_one() {
    let state = opened(&three().await);
    let expected = [
        vec![("a".to_owned(), vec![1])],
        vec![("a".to_owned(), vec![2]), ("b".to_owned(), vec![3])],
        vec![("b".to_owned(), vec![3])],
    ];
    for to in [2, 1, 3, 2, 5, 4, 1] {
        state.roll_back(to, &by(to)).await.expect("done");
        // Revisions from 4 on are those that going back has made.
        let same_as = match to {
            4 => 2,
            5 => 1,
            number => usize::try_from(number).expect("small"),
        };
        let wanted: BTreeMap<_, _> = expected[same_as - 1].iter().cloned().collect();
        assert_eq!(ports(&state), wanted, "back to {to}");
    }
}

#[tokio::test]
async fn an_address_that_was_given_out_is_the_same_afterwards() {
    let store = three().await;
    let state = opened(&store);
    let address = |state: &State| {
        let services = state.status().services;
        let a = services.iter().find(|service| service.name == "a");
        a.map(|service| service.virtual_addresses.clone())
    };
    state.roll_back(2, &by(2)).await.expect("done");
    let before = address(&state).expect("a");
    state.roll_back(3, &by(3)).await.expect("done");
    assert_eq!(address(&state), None);
    state.roll_back(1, &by(1)).await.expect("done");
    assert_eq!(address(&state), Some(before));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let state = opened(&three().await);
    for (to, said) in [
        (9, "revision 9 is not remembered: there is 1 to 3"),
        (4, "1 to 3"),
        (0, "1 to 3"),
    ] {
        let error = state
            .roll_back(to, &by(to))
            .await
            .expect_err("no such revision");
        assert!(error.to_string().contains(said), "{error}");
    }
    let error = state.release(&By::default()).await.expect_err("not held");
    assert!(matches!(error, RollbackError::NotPinned), "{error}");
    assert_eq!(state.status().revision.number, 3, "nothing has happened");
}

#[tokio::test]
async fn a_revision_is_told_by_what_it_did_to_each_object() {
    let state = opened(&three().await);
    let did = async |number| {
        let changes = state.changes(number).await.expect("remembered");
        let sign = |change: &Change| match (&change.before, &change.after) {
            (None, Some(_)) => '+',
            (Some(_), None) => '-',
            _ => '~',
        };
        let told = changes
            .iter()
            .map(|(key, change)| format!("{}{}", sign(change), key.name));
        told.collect::<Vec<_>>()
    };
    assert_eq!(did(1).await, ["+a"]);
    assert_eq!(did(2).await, ["~a", "+b"]);
    assert_eq!(did(3).await, ["-a"]);
    assert!(state.changes(4).await.is_err() && state.changes(0).await.is_err());
}

#[tokio::test]
async fn whoever_is_overtaken_by_a_rollback_tells_sidecars_of_it() {
    let store = three().await;
    let (here, elsewhere) = (opened(&store), opened(&store));
    elsewhere.roll_back(1, &by(1)).await.expect("done");
    assert_eq!(here.status().revision.number, 3, "it has not heard of it");
    let before = *here.0.changes.borrow();
    assert_eq!(write(&here, &[service("c", 4)]).await, None, "it waits");
    assert_eq!(
        (here.status().pinned, here.status().revision.number),
        (Some(1), 4)
    );
    assert!(
        *here.0.changes.borrow() > before,
        "a snapshot is made of it"
    );
    assert_eq!(
        here.status().waiting,
        ["Service default/a", "Service default/c"]
    );
}

#[tokio::test]
async fn what_a_command_brings_while_a_revision_is_held_does_not_wait() {
    let state = opened(&three().await);
    state.roll_back(1, &by(1)).await.expect("done");
    let parsed = parse_files(&[("mesh.yaml".into(), service("c", 4))]);
    let applied = state
        .apply_whole(parsed, &By::default())
        .await
        .expect("decided");
    assert_eq!(applied, crate::state::Decision::Pinned(1));
    assert_eq!(state.status().waiting, [""; 0]);
}

#[tokio::test]
async fn a_rollback_is_done_whole_when_nobody_waits_for_it_any_more() {
    let store = three().await;
    let state = opened(&store);
    let patience = std::time::Duration::ZERO;
    let (wish, told) = (by(1), state.0.released.subscribe());
    let _ = tokio::time::timeout(patience, state.roll_back(1, &wish)).await;
    let mut told = told;
    told.changed().await.expect("it is done");
    assert_eq!(
        (state.status().pinned, state.status().revision.number),
        (Some(1), 4)
    );
}

#[tokio::test]
async fn where_an_object_is_written_is_no_change_of_it() {
    let state = opened(&three().await);
    let parsed = parse_files(&[("elsewhere.yaml".into(), service("b", 3) + &service("c", 4))]);
    state.apply(parsed, Path::new("")).await.expect("applied");
    let changes = state.changes(4).await.expect("remembered");
    let names: Vec<&str> = changes.keys().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["c"]);
}
