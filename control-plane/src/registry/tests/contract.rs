//! What every [`Store`] promises, asked of each of them: it is a map, a history and a counter, and a commit is all of
//! it or nothing.
//!
//! The model is a [`Stored`] that a few obvious lines change. Random histories mix good commits with ones that were made
//! for another revision, and open the store again now and then; after each step the store has to hold what the model holds.

use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
    test_runner::{Config, TestRng, TestRunner},
};

use super::*;
use store::Stored;

/// A store that can be opened again, as after a restart: the one before is gone by then.
pub(super) trait Opens {
    /// Of a mesh of its own, by number.
    fn open(&mut self, mesh: u32) -> Box<dyn Store>;
}

/// All of it. `cases`: how many random histories; each takes as long as the store's disk.
pub(super) fn holds(opens: &mut dyn Opens, cases: u32) {
    remembers(opens);
    forgets_old_revisions(opens);
    takes_much_at_once(opens);
    one_of_two_writers_wins(opens);
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let seed = TestRng::deterministic_rng(config.rng_algorithm);
    let opens = std::cell::RefCell::new((opens, 1000));
    TestRunner::new_with_rng(config, seed)
        .run(&vec(step(), 1..12), |steps| {
            let (opens, mesh) = &mut *opens.borrow_mut();
            *mesh += 1;
            agrees_with_the_model(*opens, *mesh, steps)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// One thing that happens to a store.
#[derive(Debug, Clone)]
enum Step {
    /// A commit for the newest revision.
    Good(Change),
    /// One that was made for a revision this far from the newest.
    Stale(Change, i64),
    /// The process starts again.
    Open,
    Domain,
}

#[derive(Debug, Clone)]
struct Change {
    accepted: BTreeMap<u8, String>,
    deleted: Vec<u8>,
    denied: Vec<u8>,
    addresses: BTreeMap<u8, u8>,
    gone: Vec<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => change().prop_map(Step::Good),
        3 => (change(), prop_oneof![Just(-2_i64), Just(-1), Just(1), Just(7)])
            .prop_map(|(change, by)| Step::Stale(change, by)),
        2 => Just(Step::Open),
        1 => Just(Step::Domain),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let names = || btree_set(0_u8..8, 0..5).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    (
        btree_map(0_u8..8, "[a-z\\n\"\u{e9}]{0,12}", 0..5),
        names(),
        names(),
        btree_map(0_u8..8, 1_u8..250, 0..5),
        names(),
    )
        .prop_map(|(accepted, deleted, denied, addresses, gone)| Change {
            // What is accepted and deleted at once is accepted: the state never asks for both.
            deleted: deleted
                .into_iter()
                .filter(|name| !accepted.contains_key(name))
                .collect(),
            accepted,
            denied,
            addresses,
            gone,
        })
}

impl Change {
    fn commit(&self, number: u64) -> Commit {
        let template = commit(number, &[], &[]);
        let denied = template.denied.values().next().expect("one").clone();
        let service = |name: &u8| format!("bank/s{name}").parse().expect("valid");
        let accepted_at = template.revision.accepted_at;
        Commit {
            accepted: self
                .accepted
                .iter()
                .map(|(name, text)| {
                    let (text, file) = (text.clone(), format!("{name}.yaml"));
                    let object = StoredObject {
                        text,
                        file,
                        accepted_at,
                    };
                    (key(&format!("s{name}")), object)
                })
                .collect(),
            deleted: self
                .deleted
                .iter()
                .map(|name| key(&format!("s{name}")))
                .collect(),
            denied: self
                .denied
                .iter()
                .map(|name| (key(&format!("d{name}")), denied.clone()))
                .collect(),
            addresses: self
                .addresses
                .iter()
                .map(|(name, last)| (service(name), [240, 240, 0, *last].into()))
                .collect(),
            deleted_services: self
                .gone
                .iter()
                .map(|name| (service(name), accepted_at))
                .collect(),
            ..template
        }
    }
}

fn agrees_with_the_model(
    opens: &mut dyn Opens,
    mesh: u32,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut model = Stored::default();
    let mut store = opens.open(mesh);
    for step in steps {
        match step {
            Step::Good(change) => {
                let commit = change.commit(model.number() + 1);
                let done = store.commit(&commit);
                prop_assert!(done.is_ok(), "{:?}", done);
                apply(&mut model, commit);
            }
            Step::Stale(change, by) => {
                let number = (model.number() + 1).saturating_add_signed(by).max(1);
                if number != model.number() + 1 {
                    let done = store.commit(&change.commit(number));
                    prop_assert!(is_conflict(&done, model.number(), number - 1), "{:?}", done);
                }
            }
            Step::Open => {
                drop(store);
                store = opens.open(mesh);
            }
            Step::Domain => {
                let domain = "mesh.test".parse().expect("valid");
                store.set_trust_domain(&domain).expect("stored");
                model.trust_domain = Some(domain);
            }
        }
        prop_assert_eq!(&store.load().expect("loaded"), &model);
        for number in 0..=model.number() {
            let replaced = store.replaced(number).expect("read");
            prop_assert_eq!(replaced, replaced_by(number, model.number()));
        }
    }
    Ok(())
}

/// What is known of what a revision replaced.
fn replaced_by(number: u64, newest: u64) -> Replaced {
    let newest = commit(newest, &[], &[]);
    match number >= newest.replaced_from.max(1) && newest.revision.number > 0 {
        true => commit(number, &[], &[]).replaced,
        false => Replaced::default(),
    }
}

fn is_conflict(done: &Result<(), StoreError>, newest: u64, started: u64) -> bool {
    matches!(done, Err(StoreError::Conflict { stored, expected }) if (*stored, *expected) == (newest, started))
}

/// What a commit means.
fn apply(model: &mut Stored, commit: Commit) {
    model
        .objects
        .retain(|name, _| !commit.deleted.contains(name));
    model.objects.extend(commit.accepted);
    model.denied = commit.denied;
    model.addresses = commit.addresses;
    model.deleted = commit.deleted_services;
    model.revisions.push(commit.revision);
    let excess = model.revisions.len().saturating_sub(HISTORY);
    model.revisions.drain(..excess);
}

fn remembers(opens: &mut dyn Opens) {
    let store = opens.open(1);
    assert_eq!(store.load().expect("empty"), Stored::default());
    store.commit(&commit(1, &["a", "b"], &[])).expect("first");
    store.commit(&commit(2, &["c"], &["a"])).expect("second");
    let refused = store.commit(&commit(2, &["x"], &[]));
    assert!(is_conflict(&refused, 2, 1), "{refused:?}");
    let domain = "mesh.test".parse().expect("valid");
    store.set_trust_domain(&domain).expect("stored");
    store.set_trust_domain(&domain).expect("the same again");
    drop(store);
    let stored = opens.open(1).load().expect("loaded");
    assert_eq!(stored.number(), 2);
    assert_eq!(
        stored.objects.keys().cloned().collect::<Vec<_>>(),
        [key("b"), key("c")]
    );
    assert_eq!(stored.addresses, commit(2, &[], &[]).addresses);
    assert_eq!(stored.denied, commit(2, &[], &[]).denied);
    assert_eq!(stored.trust_domain, Some(domain));
    let other = opens.open(2).load().expect("loaded");
    assert_eq!(other, Stored::default(), "another mesh knows nothing of it");
}

fn forgets_old_revisions(opens: &mut dyn Opens) {
    let store = opens.open(3);
    let total = u64::try_from(HISTORY).expect("small") + 3;
    for number in 1..=total {
        store.commit(&commit(number, &[], &[])).expect("stored");
    }
    assert_eq!(
        store.replaced(total - 3).expect("read"),
        Replaced::default()
    );
    assert_eq!(
        store.replaced(total - 2).expect("read"),
        replaced_by(total - 2, total)
    );
    let revisions = store.load().expect("loaded").revisions;
    let numbers: Vec<u64> = revisions.iter().map(|record| record.number).collect();
    assert_eq!(numbers, (4..=total).collect::<Vec<_>>());
}

/// More operations and more bytes than one transaction of etcd has room for, in one commit and then gone in one.
fn takes_much_at_once(opens: &mut dyn Opens) {
    let store = opens.open(4);
    let names: Vec<String> = (0..600).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut first = commit(1, &names, &[]);
    for object in first.accepted.values_mut() {
        object.text = "long ".repeat(2_000);
    }
    let mut model = Stored::default();
    for commit in [first, commit(2, &["n7"], &names[9..])] {
        store.commit(&commit).expect("stored");
        apply(&mut model, commit);
        assert_eq!(store.load().expect("loaded"), model);
    }
    drop(store);
    let store = opens.open(4);
    assert_eq!(store.load().expect("loaded"), model);
    store.commit(&commit(3, &["after"], &[])).expect("stored");
    apply(&mut model, commit(3, &["after"], &[]));
    assert_eq!(store.load().expect("loaded"), model);
}

/// Of those that decide upon the same revision exactly one is let through, and what the others wrote is nowhere.
fn one_of_two_writers_wins(opens: &mut dyn Opens) {
    let store = opens.open(5);
    let names: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    for number in 1..=5 {
        let write = |writer: usize| {
            let mine: Vec<&str> = names[writer * 40..][..40]
                .iter()
                .map(String::as_str)
                .collect();
            store
                .commit(&commit(number, &mine, &[]))
                .is_ok()
                .then_some(writer)
        };
        let before = store.load().expect("loaded").objects;
        let won: Vec<usize> = std::thread::scope(|scope| {
            let write = &write;
            let writers = [0, 1, 2, 3].map(|writer| scope.spawn(move || write(writer)));
            let done = writers.map(|writer| writer.join().expect("no panic"));
            done.into_iter().flatten().collect()
        });
        let [winner] = won[..] else {
            panic!("{won:?} were all let through")
        };
        let stored = store.load().expect("loaded");
        assert_eq!(stored.number(), number);
        for (index, name) in names.iter().enumerate() {
            let text = stored.objects.get(&key(name)).map(|object| &object.text);
            let expected = match index / 40 == winner {
                true => Some(format!("text {number}")),
                false => before.get(&key(name)).map(|object| object.text.clone()),
            };
            assert_eq!(text, expected.as_ref(), "{name} after {winner} won");
        }
    }
}
