//! What operators are told about objects that are in force.

use std::time::SystemTime;

use usher_config::parse::parse_files;

use crate::registry::{tests::SERVICES, world::Reading};

use super::*;

fn route(name: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {{ name: {name} }}\n\
         spec: {{ parentRefs: [{{ group: '', kind: Service, name: store }}], rules: [{{ backendRefs: [{{ name: one, port: 5432 }}] }}] }}\n---\n"
    )
}

const GUARD: &str = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: guard }\n\
                     spec: { targetRefs: [{ kind: Service, name: store }] }\n---\n";

/// What `files` make of `world`.
fn read(world: &World, files: &[(&str, String)]) -> Reading {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| ((*name).into(), text.clone()))
        .collect();
    world.read(&parse_files(&files), Path::new(""), SystemTime::now())
}

fn told(reading: &Reading) -> Vec<Condition> {
    reading.remarks.of(&reading.world).to_vec()
}

fn said(documents: &[String]) -> Vec<Condition> {
    let text = SERVICES.to_owned() + &documents.concat();
    told(&read(&World::default(), &[("mesh.yaml", text)]))
}

#[test]
fn a_policy_that_calls_are_led_past_is_told_of() {
    let said = said(&[route("way"), GUARD.to_owned()]);
    let [remark] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(remark.object, "AccessPolicy default/guard");
    for part in [
        "TCPRoute default/way",
        "`default/one`",
        "never meet this one",
    ] {
        assert!(remark.message.contains(part), "{part}: {}", remark.message);
    }
}

#[test]
fn whoever_was_first_is_not_guessed_where_it_is_known() {
    assert_eq!(said(&[route("one"), route("two")]), []);
}

/// A mesh in which calls are led past the guard, its way in a file of its own.
fn led_past() -> (World, [(&'static str, String); 2]) {
    let files = [
        ("mesh.yaml", SERVICES.to_owned() + GUARD),
        ("way.yaml", route("way")),
    ];
    let reading = read(&World::default(), &files);
    assert_eq!(told(&reading).len(), 1, "{:?}", told(&reading));
    (reading.world, files)
}

#[test]
fn what_is_said_of_what_runs_stays_while_its_file_is_broken_unreadable_or_there_twice() {
    let (world, [mesh, (_, way)]) = led_past();
    let broken = way.replace("rules:", "rulez:");
    let twice = [
        mesh.clone(),
        ("way.yaml", way.clone()),
        ("copy.yaml", way.clone()),
    ];
    let cases = [
        ("refused", vec![mesh.clone(), ("way.yaml", broken)]),
        (
            "unreadable",
            vec![mesh.clone(), ("way.yaml", "a: [".to_owned())],
        ),
        ("emptied", vec![mesh.clone(), ("way.yaml", String::new())]),
        ("twice", twice.to_vec()),
    ];
    for (case, files) in cases {
        let reading = read(&world, &files);
        assert!(!reading.rejected.is_empty(), "{case}");
        let remarks = told(&reading);
        let [remark] = &remarks[..] else {
            panic!("{case}: {remarks:?}")
        };
        assert_eq!(remark.object, "AccessPolicy default/guard", "{case}");
        // The policy's own text is as it was, and still the place to look at.
        assert!(
            remark.message.starts_with("mesh.yaml:"),
            "{case}: {}",
            remark.message
        );
        assert!(!remark.message.contains(":0"), "{case}: {}", remark.message);
    }
}

#[test]
fn what_is_only_written_is_not_said_of_what_runs() {
    let (world, [(name, _), (_, way)]) = led_past();
    // The guard's new text is refused, and guards nothing else that the old one did not.
    let guard = GUARD.replace(
        "name: store }",
        "name: store }, { kind: Service, name: one }",
    );
    let guard = guard.replace("spec: {", "spec: { nonsense: 1,");
    let files = [(name, SERVICES.to_owned() + &guard), ("way.yaml", way)];
    let remarks = told(&read(&world, &files));
    let [remark] = &remarks[..] else {
        panic!("{remarks:?}")
    };
    let place = "mesh.yaml, as it was accepted: spec.targetRefs[0]";
    assert!(remark.message.starts_with(place), "{}", remark.message);
}

#[test]
fn a_policy_that_never_was_valid_closes_what_calls_are_led_to() {
    let (world, [mesh, way]) = led_past();
    let other = GUARD
        .replace("name: guard", "name: other")
        .replace("name: store }", "name: one }")
        .replace("spec: {", "spec: { nonsense: 1,");
    let files = [mesh, way, ("other.yaml", other)];
    let reading = read(&world, &files);
    assert_eq!(reading.world.denied.len(), 1);
    assert_eq!(told(&reading), []);
    assert_eq!(Remarks::default().of(&reading.world), []);
}

#[test]
fn what_comes_from_a_store_is_looked_at_when_somebody_asks() {
    let (world, _) = led_past();
    let remarks = Remarks::default();
    let [remark] = remarks.of(&world) else {
        panic!("{remarks:?}")
    };
    let place = "mesh.yaml, as it was accepted: spec.targetRefs[0]";
    assert!(remark.message.starts_with(place), "{}", remark.message);
}
