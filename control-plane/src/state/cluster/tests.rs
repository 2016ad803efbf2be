//! What is not known stays.

use std::{path::Path, time::SystemTime};

use usher_config::{
    kind::{Kind, ObjectKey},
    parse::{parse_alone, parse_files},
};

use super::*;
use crate::registry::World;

fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey {
        kind,
        namespace: "bank".parse().expect("valid"),
        name: name.parse().expect("valid"),
    }
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: account, namespace: bank}\nspec: {ports: [{port: 80}]}\n---\n";
const GUARDS: &str = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: account, namespace: bank}\n\
    spec: {targetRefs: [{kind: Service, name: account}], rules: []}\n---\n\
    apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: broken, namespace: bank}\n\
    spec: {targetRefs: [{kind: Service, name: account}], rules: 7}\n";

/// A mesh with two guards, one of which never was valid.
fn guarded() -> World {
    let parsed = parse_files(&[("a.yaml".into(), format!("{SERVICE}{GUARDS}"))]);
    let read = World::default().read(&parsed, Path::new(""), SystemTime::UNIX_EPOCH);
    assert_eq!((read.world.objects.len(), read.world.denied.len()), (2, 1));
    read.world
}

/// What a mesh becomes whose API server says only that there is the Service.
fn read(world: &World, is_untold: bool) -> World {
    let service = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "account", "namespace": "bank"},
        "spec": {"ports": [{"port": 80}]},
    });
    let mut told = parse_alone(&api_file(Kind::Service, "bank", "account"), &service);
    told.sources.insert("api".into(), "cluster".into());
    let kept = untold(world, |kind| is_untold && kind == Kind::AccessPolicy);
    let parsed = together([&told, &kept]);
    world.read(&parsed, Path::new(""), SystemTime::now()).world
}

#[test]
fn guards_of_a_kind_that_the_api_server_does_not_serve_just_now_stay() {
    let world = guarded();
    let next = read(&world, true);
    assert!(
        next.objects
            .contains_key(&key(Kind::AccessPolicy, "account"))
    );
    assert!(
        next.denied.contains_key(&key(Kind::AccessPolicy, "broken")),
        "and what never was valid closes"
    );
    let gone = read(&world, false);
    assert!(
        gone.objects.len() == 1 && gone.denied.is_empty(),
        "they go when it says so"
    );
}
