//! An older copy of the mesh's keys does not start in the place of the newer ones.

use std::sync::Arc;

use time::OffsetDateTime;

use super::*;
use crate::ca::{
    Authority,
    roots::{Force, RootSet},
    steward::Steward,
    trust::{Census, FileTrust},
};

/// The authority of a control plane that is alone.
struct Alone {
    authority: Arc<Authority>,
    steward: Steward,
}

impl Alone {
    fn on(data: &Path) -> Self {
        let domain = "bank.test".parse().expect("valid");
        let opened = Authority::alone(&data.join(AUTHORITY), &domain, None);
        let (authority, trust): (Authority, FileTrust) = opened.expect("opens");
        let authority = Arc::new(authority);
        let seen = Arc::clone(&authority);
        let count = Arc::new(move || (seen.roots().version, Census::default()));
        let steward = Steward::new(authority.clone(), Arc::new(trust), (count, String::new()));
        Self { authority, steward }
    }

    async fn rotate(&self) {
        for _ in 0..2 {
            let turned = self.steward.rotate(false, OffsetDateTime::now_utc()).await;
            turned.expect("turned");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to.join(AUTHORITY));
    fs::create_dir_all(to.join(AUTHORITY)).expect("writable");
    for entry in fs::read_dir(from.join(AUTHORITY)).expect("there") {
        let entry = entry.expect("readable");
        let to = to.join(AUTHORITY).join(entry.file_name());
        fs::copy(entry.path(), to).expect("copied");
    }
}

/// As a restored backup leaves it.
fn expecting(data: &Path, root: &str) {
    fs::create_dir_all(data).expect("writable");
    let text = format!("bank.test\n{root}\n");
    write_private(&data.join(KEYS_MISSING), text.as_bytes()).expect("writable");
}

#[tokio::test]
async fn keys_from_before_a_root_signed_are_refused_and_newer_ones_are_not() {
    let directory = tempfile::tempdir().expect("writable");
    let at = |name: &str| directory.path().join(name);
    let (mesh, first, adding, second) = (at("mesh"), at("first"), at("adding"), at("second"));
    let it = Alone::on(&mesh);
    copy(&mesh, &first);
    let old = it.authority.pin();
    it.steward
        .rotate(false, OffsetDateTime::now_utc())
        .await
        .expect("added");
    copy(&mesh, &adding);
    it.steward
        .rotate(false, OffsetDateTime::now_utc())
        .await
        .expect("activated");
    copy(&mesh, &second);
    let signing = it.authority.pin();
    it.rotate().await;
    let (data, marker) = (at("data"), at("data").join(KEYS_MISSING));

    expecting(&data, &signing);
    assert_eq!(missing_keys(&data).expect("readable"), Some(Missing::All));
    for older in [&first, &adding] {
        copy(older, &data);
        let missing = Missing::Newer {
            wanted: short(&signing),
            found: short(&old),
        };
        assert_eq!(missing_keys(&data).expect("readable"), Some(missing));
        assert!(marker.exists());
    }
    for newer in [&second, &mesh] {
        copy(newer, &data);
        expecting(&data, &signing);
        assert_eq!(missing_keys(&data).expect("readable"), None);
        assert!(!marker.exists(), "asked once");
    }
}

#[tokio::test]
async fn keys_from_before_a_stolen_root_was_retired_are_refused() {
    let directory = tempfile::tempdir().expect("writable");
    let at = |name: &str| directory.path().join(name);
    let (mesh, retiring, data) = (at("mesh"), at("retiring"), at("data"));
    let it = Alone::on(&mesh);
    let stolen = it.authority.pin();
    it.rotate().await;
    copy(&mesh, &retiring);
    let now = OffsetDateTime::now_utc();
    let retired = it.steward.retire(&stolen, Force::Everybody, now).await;
    retired.expect("retired");
    let (signing, roots) = (it.authority.pin(), it.authority.roots());
    assert!(roots.get(&stolen).is_none());

    let root = format!("{signing}\n{}", roots.version);
    expecting(&data, &root);
    copy(&retiring, &data);
    let missing = Missing::NewerRoots {
        wanted: roots.version,
        found: roots.version - 1,
    };
    assert_eq!(missing_keys(&data).expect("readable"), Some(missing));
    copy(&mesh, &data);
    assert_eq!(missing_keys(&data).expect("readable"), None);
    // A backup of an older version does not say how far the roots were.
    expecting(&data, &signing);
    copy(&retiring, &data);
    assert_eq!(missing_keys(&data).expect("readable"), None);
}

#[tokio::test]
async fn a_copy_of_the_first_roots_files_alone_is_known_by_its_key() {
    let directory = tempfile::tempdir().expect("writable");
    let (mesh, data) = (directory.path().join("mesh"), directory.path().join("data"));
    let it = Alone::on(&mesh);
    let first = it.authority.pin();
    copy(&mesh, &data);
    for entry in fs::read_dir(data.join(AUTHORITY)).expect("there").flatten() {
        let name = entry.file_name();
        if name != "root.key" && name != "root.crt" {
            fs::remove_file(entry.path()).expect("there");
        }
    }
    expecting(&data, &"f".repeat(64));
    let missing = missing_keys(&data).expect("readable");
    assert!(
        matches!(missing, Some(Missing::Newer { .. })),
        "{missing:?}"
    );
    expecting(&data, &first);
    assert_eq!(missing_keys(&data).expect("readable"), None);

    // Without any root a start would make one.
    fs::remove_file(data.join(AUTHORITY).join("root.key")).expect("there");
    expecting(&data, &first);
    let missing = missing_keys(&data).expect("readable");
    let nobody = |one: &Missing| matches!(one, Missing::Newer { found, .. } if found == "nobody");
    assert!(missing.as_ref().is_some_and(nobody), "{missing:?}");
}

#[test]
fn a_root_that_has_left_is_one_that_signed() {
    let mut roots = RootSet::first("a".into(), vec![1], OffsetDateTime::UNIX_EPOCH);
    roots.retired.push("b".into());
    assert!(has_signed(&roots, "a") && has_signed(&roots, "b") && !has_signed(&roots, "c"));
}
