//! What waits, and what does not.

use std::{fmt::Write as _, path::Path, sync::Arc};

use proptest::prelude::*;
use usher_config::parse::parse_files;

use super::*;

/// Mode, or nothing about it.
type Mode = Option<bool>;

/// What may be written: a Mesh (with its permission to loosen), and policies.
#[derive(Debug, Clone)]
struct Written {
    mesh: Option<(Mode, bool)>,
    /// By target: the mesh, the namespace, the services `a` and `b`; there, its mode, and whether it is on trial.
    policies: [Option<(Mode, bool)>; 4],
}

fn any_written() -> impl Strategy<Value = Written> {
    let mode = || prop::option::of(any::<bool>());
    let policy = || prop::option::weighted(0.6, (mode(), prop::bool::weighted(0.1)));
    let mesh = prop::option::of((mode(), any::<bool>()));
    (mesh, [policy(), policy(), policy(), policy()])
        .prop_map(|(mesh, policies)| Written { mesh, policies })
}

fn mtls(mode: Mode) -> String {
    let word = |strict| if strict { "Strict" } else { "Permissive" };
    mode.map_or_else(String::new, |strict| {
        format!("  mtls: {{mode: {}}}\n", word(strict))
    })
}

fn yaml(written: &Written) -> String {
    let mut text = String::new();
    for name in ["a", "b"] {
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: bank}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n---\n"
        );
    }
    if let Some((mode, loosening)) = written.mesh {
        let _ = write!(
            text,
            "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: mesh}}\n\
             spec:\n  allowLoosening: {loosening}\n{}---\n",
            mtls(mode)
        );
    }
    let targets = [
        ("usher-system", "{kind: Mesh, name: mesh}"),
        ("bank", "{kind: Namespace, name: bank}"),
        ("bank", "{kind: Service, name: a}"),
        ("bank", "{kind: Service, name: b}"),
    ];
    for (number, (policy, (namespace, target))) in written.policies.iter().zip(targets).enumerate()
    {
        if let Some((mode, trial)) = policy {
            let _ = write!(
                text,
                "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p{number}, namespace: {namespace}}}\n\
                 spec:\n  targetRefs: [{target}]\n  defaultAction: Allow\n  dryRun: {trial}\n{}---\n",
                mtls(*mode)
            );
        }
    }
    text
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

fn after(world: &World, text: String, seconds: u64) -> World {
    let parsed = parse_files(&[("mesh.yaml".into(), text)]);
    let reading = world.read(&parsed, Path::new(""), at(seconds));
    assert!(reading.rejected.is_empty(), "{:?}", reading.rejected);
    reading.world
}

fn service(name: &str) -> ServiceName {
    format!("bank/{name}").parse().expect("valid")
}

fn both() -> BTreeSet<ServiceName> {
    [service("a"), service("b")].into()
}

proptest! {
    #[test]
    fn nobody_is_locked_out_and_nothing_else_waits(
        before in any_written(), next in any_written(), alike in any::<bool>(),
        concerned in prop::sample::subsequence(vec!["a", "b"], 0..=2)
    ) {
        let next = if alike { with_modes_of(&before, &next) } else { next };
        let concerned: BTreeSet<ServiceName> = concerned.into_iter().map(service).collect();
        let before = after(&World::default(), yaml(&before), 1);
        let wanted = after(&before, yaml(&next), 2);
        let would_lock = locked(&before, &wanted, &concerned);
        let mut next = wanted.clone();
        let held = hold(&before, &mut next, &concerned, at(2));

        let versions = |key: &ObjectKey| {
            [&before, &wanted].map(|world| world.objects.get(key).map(|one| &*one.object))
        };
        let changed = before.objects.keys().chain(wanted.objects.keys());
        let mut changed = changed.filter(|key| before.objects.get(*key) != wanted.objects.get(*key));
        let alone = changed.all(|key| is_about_the_mode_alone(versions(key)));
        prop_assert!(alone || !alike);
        if alone {
            prop_assert_eq!(locked(&before, &next, &concerned), BTreeSet::new());
            prop_assert_eq!(held.is_empty(), would_lock.is_empty());
        }
        for key in held.keys() {
            prop_assert!(is_about_the_mode_alone(versions(key)), "{}", key);
        }
        for key in before.objects.keys().chain(wanted.objects.keys()) {
            let expected = if held.contains_key(key) { &before } else { &wanted };
            prop_assert_eq!(next.objects.get(key), expected.objects.get(key), "{}", key);
            prop_assert!(!held.contains_key(key) || before.objects.get(key) != wanted.objects.get(key));
        }
        let blamed: BTreeSet<ServiceName> = held.values().flatten().cloned().collect();
        prop_assert!(blamed.is_subset(&concerned));
        prop_assert!(!alone || blamed.is_superset(&would_lock));
    }

    #[test]
    fn who_waits_twice_waits_no_longer(before in any_written(), next in any_written()) {
        let before = after(&World::default(), yaml(&before), 1);
        let mut once = after(&before, yaml(&next), 2);
        hold(&before, &mut once, &both(), at(2));
        let mut twice = once.clone();
        prop_assert_eq!(hold(&before, &mut twice, &both(), at(3)), Held::new());
        prop_assert_eq!(twice, once);
    }
}

/// What is in `before`, with the modes of `next`.
fn with_modes_of(before: &Written, next: &Written) -> Written {
    let mut alike = before.clone();
    if let (Some((mode, _)), Some((wanted, _))) = (&mut alike.mesh, next.mesh) {
        *mode = wanted;
    }
    for (policy, wanted) in alike.policies.iter_mut().zip(next.policies) {
        if let (Some((mode, _)), Some((wanted, _))) = (policy, wanted) {
            *mode = wanted;
        }
    }
    alike
}

/// A policy for `a` with rules, and what it says of the mode.
fn guarded(mode: &str) -> String {
    format!(
        "{}---\napiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: rules, namespace: bank}}\n\
         spec:\n  targetRefs: [{{kind: Service, name: a}}]\n  mtls: {{mode: {mode}}}\n  \
         rules: [{{to: {{methods: [GET]}}}}]\n",
        yaml(&open())
    )
}

/// All is Permissive.
fn open() -> Written {
    Written {
        mesh: Some((Some(false), true)),
        policies: [None, None, None, None],
    }
}

#[test]
fn rules_never_wait_and_their_mode_comes_with_them() {
    let before = after(&World::default(), yaml(&open()), 1);
    let mut next = after(&before, guarded("Strict"), 2);
    let wanted = next.clone();
    assert_eq!(hold(&before, &mut next, &both(), at(2)), Held::new());
    assert_eq!(
        next, wanted,
        "a first policy keeps out whom it is to keep out"
    );
    // Once it is there, its mode alone may wait.
    let before = after(&before, guarded("Permissive"), 2);
    let mut next = after(&before, guarded("Strict"), 3);
    let held = hold(&before, &mut next, &both(), at(3));
    let held: Vec<String> = held.keys().map(ToString::to_string).collect();
    assert_eq!(held, ["AccessPolicy bank/rules"]);
}

#[test]
fn a_mesh_that_says_something_else_as_well_does_not_wait() {
    let before = after(&World::default(), yaml(&open()), 1);
    let strict = |loosening| Written {
        mesh: Some((Some(true), loosening)),
        ..open()
    };
    let mut next = after(&before, yaml(&strict(true)), 2);
    assert_eq!(hold(&before, &mut next, &both(), at(2)).len(), 1);
    let mut next = after(&before, yaml(&strict(false)), 2);
    assert_eq!(hold(&before, &mut next, &both(), at(2)), Held::new());
}

fn permissive() -> Written {
    Written {
        mesh: Some((None, true)),
        policies: [None, None, Some((Some(false), false)), None],
    }
}

#[test]
fn a_deleted_policy_waits_where_the_default_would_lock_out() {
    let before = after(&World::default(), yaml(&permissive()), 1);
    let gone = Written {
        policies: [None, None, None, None],
        ..permissive()
    };
    let mut next = after(&before, yaml(&gone), 2);
    let held = hold(&before, &mut next, &both(), at(2));
    let expected: Vec<String> = held.keys().map(ToString::to_string).collect();
    assert_eq!(expected, ["AccessPolicy bank/p2"]);
    let key = held.keys().next().expect("one");
    assert!(Arc::ptr_eq(
        &next.objects[key].object,
        &before.objects[key].object
    ));
}

#[test]
fn a_service_that_goes_or_comes_is_nobodys_concern() {
    let before = after(&World::default(), yaml(&permissive()), 1);
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: bank}\n\
         spec: {selector: {app: new}, ports: [{port: 80}]}\n";
    let mut next = after(&before, text.to_owned(), 2);
    let concerned = [service("a"), service("b"), service("new")].into();
    assert_eq!(hold(&before, &mut next, &concerned, at(2)), Held::new());
}
