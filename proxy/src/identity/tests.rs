//! Identity: tokens, rotation timing, the file, and a control plane to get an SVID from.

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::*;
use crate::{
    bootstrap::TokenFiles,
    control_plane::fake::{Fake, SERVICE_ACCOUNT_TOKEN, WORKLOAD, token},
    state_dir::StateDir,
    tls::{Leaf, tests::TestAuthority},
};

fn leaf(lived: u64, left: u64, now: SystemTime) -> Leaf {
    Leaf {
        spiffe_id: WORKLOAD.parse().unwrap(),
        not_before: now - Duration::from_secs(lived),
        not_after: now + Duration::from_secs(left),
    }
}

proptest! {
    #[test]
    fn renewal_is_due_between_45_and_55_percent_of_the_life(
        life in 60..100_000_u64,
        chance in 0.0..1.0_f64,
    ) {
        let born = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let leaf = leaf(0, life, born);
        let share = due(&leaf, Last::None, chance).duration_since(born).unwrap().as_secs_f64() / life as f64;
        prop_assert!((0.449..=0.551).contains(&share), "{share}");
    }

    #[test]
    fn a_failed_renewal_is_tried_again_within_five_minutes(count in 1..u32::MAX, chance in 0.0..1.0_f64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let wait = due(&leaf(10, 10, at), Last::Failed { count, at }, chance).duration_since(at).unwrap();
        prop_assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(300), "{wait:?}");
    }

    /// As the control plane signs: five minutes back, and no longer than its root.
    #[test]
    fn renewals_keep_their_distance_whatever_is_left_of_the_root(left in 0..90_000_u64, chance in 0.0..1.0_f64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let new = leaf(300, left, at);
        let wait = due(&new, Last::Renewed { at }, chance).duration_since(at).unwrap();
        prop_assert!(wait >= Duration::from_secs(30), "{wait:?}");
        let most = Duration::from_secs(60).max(Duration::from_secs((300 + left) * 55 / 100));
        prop_assert!(wait <= most, "{wait:?}");
        prop_assert_eq!(is_short(&new, at), left < 420);
    }

    /// When another root signs, everybody follows soon, nobody asks in a loop, and no renewal comes later than it would have.
    #[test]
    fn an_svid_under_an_old_root_is_renewed_within_half_a_minute(
        chance in 0.0..1.0_f64,
        lived in 0..80_000_u64,
        failures in 1..20_u32,
    ) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let leaf = leaf(lived, 86_400 - lived, now);
        let old = |stayed| OldRoot { since: now, stayed };
        let due_after = |last, stayed| due_under_old_root((&leaf, old(stayed)), last, chance);
        let soon = due_after(Last::None, 0);
        prop_assert!(soon <= now + Duration::from_secs(30));
        prop_assert!(soon <= due(&leaf, Last::None, chance));
        let earlier = Last::Renewed { at: now - Duration::from_secs(1) };
        prop_assert!(due_after(earlier, 0) <= now + Duration::from_secs(60));
        let at = now + Duration::from_secs(5);
        let again = due_after(Last::Renewed { at }, 1);
        prop_assert!(again >= at + Duration::from_secs(15) && again <= at + Duration::from_secs(30));
        // One that does not follow is asked ever more rarely, and not never.
        let late = due_after(Last::Renewed { at }, failures);
        let longest = Duration::from_secs(30 << (failures - 1).min(10)).min(Duration::from_secs(3600));
        let renewed = Last::Renewed { at };
        let anyway = due(&leaf, renewed, chance);
        prop_assert!(late <= at + longest);
        prop_assert!(late >= anyway.min(at + longest / 2));
        let failed = Last::Failed { count: failures, at };
        prop_assert_eq!(due_after(failed, 1), due(&leaf, failed, chance));
    }

    #[test]
    fn no_text_breaks_the_token_parser(text in ".{0,120}") {
        let _ = text.parse::<JoinToken>();
    }
}

#[test]
fn failures_are_counted_until_one_attempt_succeeds() {
    let at = SystemTime::UNIX_EPOCH;
    let twice = Last::Renewed { at }.failed(at).failed(at);
    assert_eq!(twice, Last::Failed { count: 2, at });
    assert_eq!(Last::None.failed(at), Last::Failed { count: 1, at });
}

#[test]
fn a_clock_that_was_ahead_keeps_nobody_waiting() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000_000);
    let ahead = now + Duration::from_secs(30 * 86_400);
    for last in [
        Last::Renewed { at: ahead },
        Last::Failed {
            count: 30,
            at: ahead,
        },
    ] {
        let wait = due(&leaf(80_000, 6_400, now), last.known_at(now), 1.0).duration_since(now);
        assert!(wait.unwrap() <= Duration::from_secs(300), "{last:?}");
    }
}

#[test]
fn an_ended_svid_proves_nothing() {
    let now = SystemTime::now();
    assert_eq!(proof(&leaf(10, 10, now), now), Proof::Svid);
    assert_eq!(
        proof(&leaf(10, 10, now), now + Duration::from_secs(11)),
        Proof::Token
    );
}

#[test]
fn a_token_shows_neither_its_secret_nor_an_unfit_text() {
    let pin = "ab".repeat(32);
    let token: JoinToken = format!(" usher1.id.geheim.{pin}\n").parse().unwrap();
    assert_eq!(token.root_spki_sha256, [0xab; 32]);
    assert!(!format!("{token:?}").contains("geheim"));
    for text in [
        "",
        "usher1.id.geheim",
        "usher2.id.geheim.ab",
        &format!("usher1..geheim.{pin}"),
        "usher1.a.b.zz",
    ] {
        let error = text.parse::<JoinToken>().unwrap_err().to_string();
        assert!(!error.contains("geheim"));
    }
}

struct Directory {
    state: StateDir,
    root: tempfile::TempDir,
}

fn directory() -> Directory {
    let root = tempfile::tempdir().unwrap();
    Directory {
        state: StateDir::open(&root.path().join("state")).unwrap(),
        root,
    }
}

impl Directory {
    fn token_file(&self, token: &str) -> std::path::PathBuf {
        let path = self.root.path().join("token");
        std::fs::write(&path, format!("{token}\n")).unwrap();
        path
    }
}

/// A token, and no roots.
fn only(token: &std::path::Path) -> TokenFiles {
    TokenFiles {
        token: Some(token.to_owned()),
        roots: None,
    }
}

/// Roots as the ConfigMap has them.
fn pem(roots: &[&[u8]]) -> String {
    let root = |der: &&[u8]| {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    roots.iter().map(root).collect()
}

#[tokio::test]
async fn a_service_accounts_token_goes_to_a_control_plane_under_a_mounted_root_only() {
    let (fake, directory) = (Fake::start().await, directory());
    let stranger = TestAuthority::new();
    let token = directory.token_file(SERVICE_ACCOUNT_TOKEN);
    let error = attest(&fake.control_plane, &only(&token))
        .await
        .unwrap_err();
    assert!(matches!(error, AttestError::NoRoots { .. }), "{error}");
    assert!(error.is_final() && error.to_string().contains("--root-file"));

    let roots = directory.root.path().join("root.pem");
    let files = TokenFiles {
        roots: Some(roots.clone()),
        ..only(&token)
    };
    // The volume may be mounted later, and a ConfigMap be filled later.
    let missing = attest(&fake.control_plane, &files).await.unwrap_err();
    assert!(matches!(missing, AttestError::RootFile { .. }), "{missing}");
    std::fs::write(&roots, "# none yet\n").unwrap();
    let empty = attest(&fake.control_plane, &files).await.unwrap_err();
    assert!(matches!(empty, AttestError::Roots { .. }), "{empty}");
    assert!(!missing.is_final() && !empty.is_final());

    std::fs::write(&roots, pem(&[&stranger.root])).unwrap();
    let error = attest(&fake.control_plane, &files).await.unwrap_err();
    assert!(matches!(error, AttestError::OtherMesh { .. }), "{error}");
    assert!(error.to_string().contains("usher-trust"), "{error}");
    assert!(fake.calls().is_empty(), "nobody has seen the token");

    // While roots change, there are several.
    std::fs::write(&roots, pem(&[&stranger.root, &fake.authority.root])).unwrap();
    let svid = attest(&fake.control_plane, &files).await.unwrap();
    assert_eq!(svid.leaf.spiffe_id.as_str(), WORKLOAD);
    let shown = format!("{:?}", Token::read(&files).unwrap());
    assert!(!shown.contains("eyJ"), "{shown}");
}

#[tokio::test]
async fn a_token_buys_an_svid_that_is_kept_renewed_and_reused() {
    let (fake, directory) = (Fake::start().await, directory());
    let token = directory.token_file(&fake.token());
    let svid = attest(&fake.control_plane, &only(&token)).await.unwrap();
    assert_eq!(svid.leaf.spiffe_id.as_str(), WORKLOAD);

    let mut keeper = Keeper::new(directory.state.clone(), svid).unwrap();
    let before = keeper.material().load_full();
    let next = renew(fake.control_plane.line(keeper.material()).channel())
        .await
        .unwrap();
    keeper.replace_svid(next).unwrap();
    assert!(
        !std::sync::Arc::ptr_eq(&before, &keeper.material().load_full()),
        "new stores for a new SVID"
    );
    assert_eq!(fake.calls(), ["attest", "renew svid"]);

    let file = directory.state.file("identity.json");
    assert_eq!(
        std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let kept = Svid::load(&directory.state, SystemTime::now())
        .unwrap()
        .unwrap();
    assert_eq!(kept.leaf, *keeper.leaf());
    let later = SystemTime::now() + Duration::from_secs(200_000);
    assert!(
        Svid::load(&directory.state, later).unwrap().is_none(),
        "ended: a token is needed"
    );
}

#[tokio::test]
async fn the_secret_goes_to_nobody_but_the_pinned_control_plane() {
    let (fake, directory) = (Fake::start().await, directory());
    let other = directory.token_file(&token(&TestAuthority::new().root));
    let error = attest(&fake.control_plane, &only(&other))
        .await
        .unwrap_err();
    assert!(
        matches!(error, AttestError::OtherMesh { .. }) && error.is_final(),
        "{error}"
    );

    let workload = Fake::start_as(WORKLOAD).await;
    let own = directory.token_file(&workload.token());
    let error = attest(&workload.control_plane, &only(&own))
        .await
        .unwrap_err();
    assert!(
        matches!(error, AttestError::Connect(_)),
        "a workload is not the control plane: {error}"
    );
    assert!(fake.calls().is_empty() && workload.calls().is_empty());
}

#[tokio::test]
async fn a_refused_token_is_final_and_a_missing_control_plane_is_not() {
    let (fake, directory) = (Fake::start().await, directory());
    let garbage = directory.token_file("no token at all");
    let error = attest(&fake.control_plane, &only(&garbage))
        .await
        .unwrap_err();
    assert!(error.is_final(), "{error}");
    assert!(
        error.to_string().contains("token"),
        "names the file: {error}"
    );
    let wrong = directory.token_file(&fake.token().replace("secret", "guess"));
    assert!(
        attest(&fake.control_plane, &only(&wrong))
            .await
            .unwrap_err()
            .is_final()
    );
    assert!(
        attest(&fake.control_plane, &TokenFiles::default())
            .await
            .unwrap_err()
            .is_final()
    );
    let nobody = crate::control_plane::ControlPlane::new("127.0.0.1:1");
    let right = directory.token_file(&fake.token());
    assert!(!attest(&nobody, &only(&right)).await.unwrap_err().is_final());
}

#[tokio::test]
async fn a_token_that_is_still_being_written_is_waited_for() {
    let (fake, directory) = (Fake::start().await, directory());
    let token = fake.token();
    let path = directory.token_file(&token);
    for unfinished in ["", "\n", &token[..token.len() - 1]] {
        std::fs::write(&path, unfinished).unwrap();
        let error = attest(&fake.control_plane, &only(&path)).await.unwrap_err();
        assert!(!error.is_final(), "{unfinished:?}: {error}");
        assert!(error.to_string().contains("not written to its end"));
    }
    std::fs::write(&path, &token).unwrap();
    attest(&fake.control_plane, &only(&path)).await.unwrap();
}

#[tokio::test]
async fn a_new_bundle_replaces_the_material_but_never_the_mesh() {
    let (fake, directory) = (Fake::start().await, directory());
    let token = directory.token_file(&fake.token());
    let svid = attest(&fake.control_plane, &only(&token)).await.unwrap();
    let mut keeper = Keeper::new(directory.state.clone(), svid.clone()).unwrap();
    let mut bundle = svid.bundle.clone();
    bundle.version = 2;
    bundle.roots.push(TestAuthority::new().root);
    keeper.replace_bundle(bundle.clone()).unwrap();
    assert_eq!(keeper.material().load().bundle_version, 2);
    keeper.replace_svid(svid).unwrap();
    assert_eq!(
        keeper.material().load().bundle_version,
        2,
        "the newer bundle stays"
    );

    bundle.trust_domain = "elsewhere".parse().unwrap();
    assert!(keeper.replace_bundle(bundle.clone()).is_err());
    bundle.trust_domain = "usher.local".parse().unwrap();
    bundle.roots = vec![vec![1, 2, 3]];
    assert!(keeper.replace_bundle(bundle).is_err());
    assert_eq!(
        keeper.material().load().bundle_version,
        2,
        "the last good one stays"
    );
}

#[tokio::test]
async fn a_root_that_went_is_remembered_as_ours_also_after_a_restart() {
    let (fake, directory) = (Fake::start().await, directory());
    let token = directory.token_file(&fake.token());
    let svid = attest(&fake.control_plane, &only(&token)).await.unwrap();
    let pinned = Token::read(&only(&token)).unwrap().roots()[0];
    assert!(svid.is_under(&pinned));
    let mut keeper = Keeper::new(directory.state.clone(), svid.clone()).unwrap();
    assert!(keeper.material().load().is_under_active);
    let other = TestAuthority::new();
    let mut bundle = svid.bundle.clone();
    (bundle.version, bundle.roots) = (2, vec![other.root.clone(), svid.bundle.roots[0].clone()]);
    keeper.replace_bundle(bundle.clone()).unwrap();
    assert!(
        !keeper.material().load().is_under_active,
        "another root signs"
    );
    let soon = SystemTime::now() + Duration::from_secs(31);
    assert!(keeper.due(Last::None, 1.0) <= soon, "follows it");
    (bundle.version, bundle.roots) = (3, vec![other.root]);
    keeper.replace_bundle(bundle).unwrap();
    assert_eq!(keeper.material().load().root, None);
    let kept = Svid::load(&directory.state, SystemTime::now())
        .unwrap()
        .unwrap();
    assert!(
        kept.is_under(&pinned),
        "the token of then is not another mesh's"
    );
    assert!(!kept.is_under(&[7; 32]));
}
