//! What comes back is what was there at one moment; what was touched is refused.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use usher_config::{model::TrustBundle, parse::parse_files};

use super::*;
use crate::{
    ca::token::{JoinToken, Refusal, TokenRequest, tests::pinned},
    registry::{EmbeddedStore, Store as _},
    state::{By, Decision, STORE_FILE},
};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A control plane's state in a directory, without its doors.
struct Plane {
    state: State,
    tokens: TokenStore,
}

impl Plane {
    fn on(data: &Path) -> Self {
        let tokens =
            TokenStore::open(&data.join(crate::ca::token::FILE), pinned(&["a"])).expect("opens");
        let state = State::restored(data).expect("opens");
        Self { state, tokens }
    }

    async fn of_a_mesh(data: &Path) -> Self {
        let plane = Self::on(data);
        let trust_domain = "bank.test".parse().expect("valid");
        let bundle = TrustBundle {
            trust_domain,
            roots: Vec::new(),
            version: 1,
        };
        plane.state.set_trust_bundle(bundle).await;
        plane
    }

    /// A configuration of its own for each number.
    async fn apply(&self, port: u16) -> u64 {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{}, namespace: bank}}\n\
             spec:\n  ports: [{{port: {port}}}]\n",
            port % 7
        );
        let parsed = parse_files(&[("a.yaml".into(), text)]);
        let decision = self.state.apply_whole(parsed, &By::default()).await;
        match decision.expect("written") {
            Decision::New(revision) => revision.number,
            other => panic!("{other:?}"),
        }
    }

    fn token(&self) -> JoinToken {
        let request = TokenRequest {
            namespace: "bank".parse().expect("valid"),
            service_account: "account".parse().expect("valid"),
            ttl: Duration::from_secs(3600),
            uses: std::num::NonZeroU32::new(2),
        };
        let made = self.tokens.create(&request, SystemTime::now());
        made.expect("made").0
    }

    fn use_up(&self, token: &JoinToken) -> Result<(), Refusal> {
        let used = self.tokens.redeem(token, SystemTime::now(), |_| true);
        used.map(drop)
    }

    fn backup(&self, data: &Path, keys: Keys) -> Backup {
        let made = Backup::make((&self.state, &self.tokens), data, keys, NOW);
        made.expect("made")
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("has one")).expect("writable");
    std::fs::write(path, text).expect("writable");
}

fn new(directory: &tempfile::TempDir, name: &str) -> std::path::PathBuf {
    directory.path().join(name)
}

fn restored(backup: &Backup, data: &Path) {
    restore(backup, data, Existing::Keep, SystemTime::now()).expect("restored");
}

#[tokio::test]
async fn what_was_acknowledged_before_comes_back_and_a_used_token_stays_used() {
    let directory = tempfile::tempdir().expect("writable");
    let (old, data) = (new(&directory, "old"), new(&directory, "data"));
    std::fs::create_dir(&old).expect("writable");
    write(&old.join("jwks/a.json"), "keys of an issuer");
    let plane = Plane::of_a_mesh(&old).await;
    for port in 1..=9 {
        plane.apply(port).await;
    }
    let (spent, fresh) = (plane.token(), plane.token());
    for _ in 0..2 {
        plane.use_up(&spent).expect("permitted");
    }
    let bytes = plane.backup(&old, Keys::LeftOut).encode().expect("text");
    let before = EmbeddedStore::open(&old.join(STORE_FILE));
    assert!(before.is_err(), "it runs on");
    let (in_force, changes) = (plane.state.in_force(), plane.state.changes(8).await);

    restored(
        &Backup::decode(&bytes).unwrap_or_else(|_| panic!("whole")),
        &data,
    );
    let mode = data.join(STORE_FILE).metadata().expect("there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let kept = std::fs::read_to_string(data.join("jwks/a.json"));
    assert_eq!(kept.expect("there"), "keys of an issuer");
    let again = Plane::on(&data);
    assert_eq!(again.state.in_force(), in_force);
    assert_eq!(
        again.state.changes(8).await.expect("remembered"),
        changes.expect("remembered")
    );
    assert!(matches!(again.use_up(&spent), Err(Refusal::Spent)));
    again.use_up(&fresh).expect("permitted");
    assert_eq!(again.apply(10).await, 10, "numbers go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_during_writes_is_of_one_moment() {
    let directory = tempfile::tempdir().expect("writable");
    let old = new(&directory, "old");
    std::fs::create_dir(&old).expect("writable");
    let plane = std::sync::Arc::new(Plane::of_a_mesh(&old).await);
    let writer = plane.clone();
    let writing = tokio::spawn(async move {
        let mut in_force = BTreeMap::new();
        for port in 1..=60 {
            let number = writer.apply(port).await;
            in_force.insert(number, writer.state.in_force());
        }
        in_force
    });
    let mut backups = Vec::new();
    while !writing.is_finished() {
        let (plane, old) = (plane.clone(), old.clone());
        let made = tokio::task::spawn_blocking(move || plane.backup(&old, Keys::LeftOut));
        backups.push(made.await.expect("made"));
    }
    let in_force = writing.await.expect("written");
    backups.retain(|backup| backup.revision > 0);
    backups.dedup_by_key(|backup| backup.revision);
    assert!(backups.len() > 3, "{} backups", backups.len());
    for backup in backups {
        let data = new(&directory, &backup.revision.to_string());
        restored(&backup, &data);
        let store = EmbeddedStore::open(&data.join(STORE_FILE)).expect("opens");
        assert_eq!(store.load().expect("whole"), in_force[&backup.revision]);
    }
}

/// One of a mesh without configuration, to be touched.
async fn small() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("writable");
    let plane = Plane::of_a_mesh(directory.path()).await;
    let backup = plane.backup(directory.path(), Keys::LeftOut);
    backup.encode().expect("text")
}

#[tokio::test]
async fn what_was_cut_off_changed_or_continued_anywhere_is_refused() {
    let bytes = small().await;
    assert!(Backup::decode(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(Backup::decode(&bytes[..length]).is_err(), "{length}");
        // Each bit, and the case of letters.
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[length] ^= 1 << bit;
            assert!(Backup::decode(&changed).is_err(), "{length} {bit}");
        }
        let mut without = bytes.clone();
        without.remove(length);
        assert!(Backup::decode(&without).is_err(), "{length}");
    }
    let continued = [bytes.as_slice(), b"\n"].concat();
    assert!(Backup::decode(&continued).is_err());
}

fn with_digest(text: &str) -> Vec<u8> {
    let mut bytes = [FIRST_LINE, text.as_bytes()].concat();
    let digest = digest(&bytes);
    bytes.extend_from_slice(format!("{LAST_LINE}{digest}\n").as_bytes());
    bytes
}

#[tokio::test]
async fn what_is_whole_and_still_none_is_told_apart() {
    let bytes = small().await;
    let text = String::from_utf8(bytes).expect("text");
    let json = text.lines().nth(1).expect("a document");
    let decoded = |text: &str| Backup::decode(&with_digest(text)).err().expect("refused");
    assert!(matches!(
        decoded(r#"{"format":2,"usher":"9.9.9","new":{}}"#),
        NotWhole::Format { found: 2, .. }
    ));
    let other = json.replace(r#""revision":0"#, r#""revision":7"#);
    let error = decoded(&other).to_string();
    assert!(error.contains("says revision 7"), "{error}");
    assert!(matches!(decoded("{}"), NotWhole::Unreadable(_)));
    for other in ["", "usher", "kind: Service\n"] {
        let error = Backup::decode(other.as_bytes()).err();
        let is_none = matches!(error, Some(NotWhole::NoBackup));
        assert_eq!(is_none, other.starts_with("kind"), "{other}");
    }
}

#[tokio::test]
async fn a_backup_and_what_is_restored_from_it_say_of_which_version_the_roots_were() {
    let directory = tempfile::tempdir().expect("writable");
    let (old, data) = (new(&directory, "old"), new(&directory, "data"));
    std::fs::create_dir(&old).expect("writable");
    let plane = Plane::of_a_mesh(&old).await;
    let bundle = TrustBundle {
        trust_domain: "bank.test".parse().expect("valid"),
        roots: vec![b"a root".to_vec()],
        version: 7,
    };
    plane.state.set_trust_bundle(bundle).await;
    let bytes = plane.backup(&old, Keys::LeftOut).encode().expect("text");
    let backup = Backup::decode(&bytes).unwrap_or_else(|_| panic!("whole"));
    assert_eq!(backup.roots_version, Some(7));
    restored(&backup, &data);
    let marker = std::fs::read_to_string(data.join(keys::KEYS_MISSING));
    assert_eq!(marker.expect("there").lines().nth(2), Some("7"));
}

#[tokio::test]
async fn keys_are_left_out_unless_asked_for_and_missed_until_they_are_there() {
    let directory = tempfile::tempdir().expect("writable");
    let old = new(&directory, "old");
    write(&old.join("ca/root.key"), "secret");
    write(&old.join("ca/roots/2.key"), "another");
    write(&old.join("ca/issued.jsonl"), "who had what");
    let plane = Plane::of_a_mesh(&old).await;

    let (without, with) = (new(&directory, "without"), new(&directory, "with"));
    restored(&plane.backup(&old, Keys::LeftOut), &without);
    assert!(!without.join("ca").exists());
    assert_eq!(
        missing_keys(&without).expect("readable"),
        Some(Missing::All)
    );
    write(&without.join("ca/root.key"), "secret");
    assert_eq!(missing_keys(&without).expect("readable"), None);
    std::fs::remove_dir_all(without.join("ca")).expect("there");
    assert_eq!(
        missing_keys(&without).expect("readable"),
        None,
        "asked once"
    );

    let backup = plane.backup(&old, Keys::Included);
    restored(&backup, &with);
    assert_eq!(missing_keys(&with).expect("readable"), None);
    for (name, text) in [("root.key", "secret"), ("roots/2.key", "another")] {
        let path = with.join("ca").join(name);
        assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(!with.join("ca/issued.jsonl").exists(), "a log");
}

#[tokio::test]
async fn a_file_that_would_be_written_elsewhere_is_refused() {
    let directory = tempfile::tempdir().expect("writable");
    let plane = Plane::of_a_mesh(directory.path()).await;
    for name in ["../x", "/tmp/x", "ca/../../x", "configuration.redb", ""] {
        let mut backup = plane.backup(directory.path(), Keys::LeftOut);
        backup.files.insert(name.to_owned(), String::new());
        let data = new(&directory, "data");
        let refused = restore(&backup, &data, Existing::Keep, SystemTime::now());
        assert!(refused.is_err(), "{name}");
        assert!(!data.join(STORE_FILE).exists(), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_restored_over_what_is_there() {
    let directory = tempfile::tempdir().expect("writable");
    let old = new(&directory, "old");
    std::fs::create_dir(&old).expect("writable");
    let plane = Plane::of_a_mesh(&old).await;
    plane.apply(1).await;
    let mut backup = plane.backup(&old, Keys::LeftOut);
    let again = |backup: &Backup, existing| restore(backup, &old, existing, SystemTime::now());
    assert!(matches!(
        again(&backup, Existing::Keep),
        Err(RestoreError::NotEmpty(_))
    ));
    assert!(matches!(
        again(&backup, Existing::MoveAside),
        Err(RestoreError::InUse(_))
    ));
    let Plane { state, tokens } = plane;
    drop((state, tokens));
    // Its tasks let go of the file a moment later.
    while EmbeddedStore::open(&old.join(STORE_FILE)).is_err() {
        tokio::task::yield_now().await;
    }
    backup.trust_domain = "other.test".to_owned();
    assert!(matches!(
        again(&backup, Existing::MoveAside),
        Err(RestoreError::OtherMesh { .. })
    ));
    backup.trust_domain = "bank.test".to_owned();
    let aside = again(&backup, Existing::MoveAside).expect("restored").aside;
    let aside = aside.expect("moved");
    assert!(aside.join(STORE_FILE).exists() && old.join(STORE_FILE).exists());
}
