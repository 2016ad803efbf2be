//! Versions follow content; bursts end.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use prost::Message as _;
use usher_config::{model::Revision, parse::parse_files, wire::v1};

use super::*;
use crate::{compile::compile, registry::World};

#[test]
fn a_version_is_the_content_and_nothing_else() {
    let revision = |number| {
        Resource::encode(&v1::Revision {
            number,
            digest: "x".into(),
        })
    };
    assert_eq!(revision(1), revision(1));
    assert_ne!(revision(1).version, revision(2).version);
    assert_eq!(revision(1).version.len(), 32);
}

#[test]
fn a_burst_ends_when_it_is_quiet_or_has_lasted_long_enough() {
    let (mut burst, start) = (Debounce::default(), Instant::now());
    assert_eq!(burst.due(), None);
    burst.changed(start);
    assert_eq!(burst.due(), Some(start + Duration::from_millis(10)));
    for millis in 1..=200 {
        burst.changed(start + Duration::from_millis(millis));
    }
    assert_eq!(burst.due(), Some(start + Duration::from_millis(100)));
    burst.done();
    assert_eq!(burst.due(), None);
}

const POLICY: &str = "\
apiVersion: v1
kind: Service
metadata: { name: a, namespace: bank }
spec: { selector: { app: a }, ports: [{ port: 8080 }] }
---
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: { name: login, namespace: bank }
spec:
  targetRefs: [{ kind: Service, name: a }]
  mode: Required
  jwt: [{ issuer: i, audiences: [a], jwks: { uri: 'https://login.test/keys' } }]
";

#[test]
fn where_a_token_is_required_proxies_that_know_none_let_nobody_in() {
    let revision = || Revision {
        number: 1,
        digest: String::new(),
    };
    let configured = |text: String| {
        let world = World::default();
        let files = parse_files(&[("a.yaml".into(), text)]);
        let read = world.read(&files, Path::new(""), SystemTime::UNIX_EPOCH);
        Configured::new(&compile(&read.world), revision())
    };
    let required = configured(POLICY.to_owned());
    let closed = &required.closed["bank/a"];
    let closed = v1::InboundPolicy::decode(closed.body.clone()).expect("ours");
    assert!(closed.access.iter().any(|access| access.invalid));
    let open = v1::InboundPolicy::decode(required.inbound["bank/a"].body.clone());
    assert!(open.expect("ours").access.is_empty());
    let optional = configured(POLICY.replace("Required", "Optional"));
    assert!(optional.closed.is_empty());
}
