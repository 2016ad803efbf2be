//! Old keys are told of, and only after a while.

use std::{path::Path, time::Duration};

use usher_config::parse::parse_files;

use super::*;
use crate::registry::store::Stored;

const POLICY: &str = "\
apiVersion: usher.dev/v1alpha1
kind: AuthenticationPolicy
metadata: { name: login, namespace: shop }
spec:
  targetRefs: [{ kind: Namespace, name: shop }]
  jwt: [{ issuer: i, audiences: [a], jwks: { uri: 'https://login.test/keys', refreshInterval: 1m } }]
";

#[test]
fn keys_are_stale_after_three_intervals_without_a_fetch() {
    let parsed = parse_files(&[("policy.yaml".into(), POLICY.to_owned())]);
    let (world, _) = World::restored(&Stored::default());
    let world = world.read(&parsed, Path::new(""), SystemTime::now()).world;
    let at = SystemTime::UNIX_EPOCH;
    let fetched = BTreeMap::from([("https://login.test/keys".parse().expect("valid"), at)]);
    let after = |seconds| stale(&world, &fetched, at + Duration::from_secs(seconds));
    assert!(after(180).is_empty());
    let [condition] = &after(181)[..] else {
        panic!("one policy")
    };
    assert_eq!(condition.object, "AuthenticationPolicy shop/login");
    assert_eq!(condition.reason, "StaleKeys");
    assert!(
        condition.message.contains("1970-01-01T00:00:00Z"),
        "{}",
        condition.message
    );
    // Never fetched is told by the compiler.
    assert!(stale(&world, &BTreeMap::new(), at + Duration::from_secs(999)).is_empty());
}
