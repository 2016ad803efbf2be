//! All stores keep one contract; what only one of them has to do is here.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use usher_config::kind::{Kind, ObjectKey, TargetKind, TargetRef};

use super::*;
use history::Replaced;
use store::{Commit, HISTORY, Origin, RevisionRecord, StoredObject, Wait};

mod contract;
#[cfg(feature = "etcd")]
mod etcd;

/// Two Services of one workload: what tests of texts begin with.
pub(super) const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: { name: store }
spec: { selector: { app: store }, ports: [{ port: 5432, appProtocol: tcp }] }
---
apiVersion: v1
kind: Service
metadata: { name: one }
spec: { selector: { app: store }, ports: [{ port: 5432, appProtocol: tcp }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: store, labels: { app: store } }
spec: { serviceAccount: store }
---
";

fn key(name: &str) -> ObjectKey {
    let name = name.parse().expect("valid");
    ObjectKey {
        kind: Kind::Service,
        namespace: "bank".parse().expect("valid"),
        name,
    }
}

fn commit(number: u64, accepted: &[&str], deleted: &[&str]) -> Commit {
    let accepted_at = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
    let object = StoredObject {
        text: format!("text {number}"),
        file: "a.yaml".into(),
        accepted_at,
    };
    let denied = BTreeMap::from([(
        ObjectKey {
            kind: Kind::AccessPolicy,
            ..key("closed")
        },
        Denied {
            targets: [
                (TargetKind::Service, None),
                (TargetKind::HttpRoute, Some("r")),
            ]
            .map(|(kind, section)| TargetRef {
                kind,
                name: "a".parse().expect("valid"),
                section_name: section.map(|name| name.parse().expect("valid")),
            })
            .into(),
            file: format!("{number}.yaml"),
        },
    )]);
    Commit {
        revision: RevisionRecord {
            number,
            digest: format!("d{number}"),
            accepted_at,
            changed: vec![],
            changed_count: None,
            origin: Origin::Rollback(number),
            author: "olga".into(),
            message: "because".into(),
            pinned: Some(number),
            replaced_bytes: Some(7),
            still_permissive: [("bank/waits".to_owned(), Wait::Called)].into(),
        },
        replaced: Replaced {
            objects: [(key("a"), None), (key("b"), Some(object.clone()))].into(),
            denied: denied.clone(),
        },
        replaced_from: number.saturating_sub(2),
        accepted: accepted
            .iter()
            .map(|name| (key(name), object.clone()))
            .collect(),
        deleted: deleted.iter().map(|name| key(name)).collect(),
        denied,
        addresses: BTreeMap::from([(
            "bank/a".parse().expect("valid"),
            "240.240.0.9".parse().expect("valid"),
        )]),
        deleted_services: BTreeMap::from([("bank/a".parse().expect("valid"), accepted_at)]),
    }
}

#[derive(Default)]
struct InMemory(BTreeMap<u32, Arc<MemoryStore>>);

impl contract::Opens for InMemory {
    fn open(&mut self, mesh: u32) -> Box<dyn Store> {
        Box::new(self.0.entry(mesh).or_default().clone())
    }
}

struct Embedded(tempfile::TempDir);

impl contract::Opens for Embedded {
    fn open(&mut self, mesh: u32) -> Box<dyn Store> {
        let path = self.0.path().join(format!("{mesh}.redb"));
        Box::new(EmbeddedStore::open(&path).expect("opens"))
    }
}

#[test]
fn a_memory_store_keeps_the_contract() {
    contract::holds(&mut InMemory::default(), 256);
}

#[test]
fn an_embedded_store_keeps_the_contract() {
    let directory = tempfile::tempdir().expect("directory");
    contract::holds(&mut Embedded(directory), 16);
}

#[test]
fn a_file_that_is_no_store_is_refused_not_overwritten() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("store.redb");
    std::fs::write(&path, "precious").expect("written");
    assert!(EmbeddedStore::open(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "precious");
}

#[test]
fn a_second_control_plane_on_the_same_store_is_told_so() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("store.redb");
    let _first = EmbeddedStore::open(&path).expect("first");
    let second = EmbeddedStore::open(&path).err();
    assert!(
        matches!(second, Some(StoreError::InUse { .. })),
        "{second:?}"
    );
}

#[test]
fn keys_that_were_fetched_outlast_what_another_control_plane_decides() {
    let jwks = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let uri = "https://login.test/keys".parse().expect("valid");
    let before = World {
        keys: BTreeMap::from([(uri, jwks.parse().expect("valid"))]),
        ..World::default()
    };
    let (after, _) = World::restored_after(&store::Stored::default(), &before);
    assert_eq!(after.keys, before.keys);
}
