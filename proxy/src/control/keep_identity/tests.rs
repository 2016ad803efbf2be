//! Which kept identity a start takes for its own.

use super::*;
use crate::control_plane::fake::Fake;

fn start(more: &[&str]) -> Bootstrap {
    let minimal = ["usher-proxy", "--service", "web", "--namespace", "shop"];
    let arguments = [&minimal[..], &["--state-dir", "state"], more].concat();
    Bootstrap::read(arguments, &Default::default()).unwrap()
}

#[test]
fn a_kept_identity_is_used_only_for_the_namespace_and_account_that_are_asked_for() {
    let kept: SpiffeId = "spiffe://mesh/ns/shop/sa/web".parse().unwrap();
    let elsewhere = "spiffe://mesh/ns/bank/sa/web".parse().unwrap();
    assert!(is_meant(&kept, &start(&[])));
    assert!(!is_meant(&elsewhere, &start(&[])));
    assert!(is_meant(&kept, &start(&["--service-account", "web"])));
    assert!(!is_meant(&kept, &start(&["--service-account", "batch"])));
}

/// A start with a state directory that the mesh of `kept` was joined with, and a token of the mesh of `token`.
async fn rejoin(kept: &Fake, token: &Fake) -> (Result<Svid, Exit>, Standing) {
    let folder = tempfile::tempdir().unwrap();
    let directory = StateDir::open(&folder.path().join("state")).unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, kept.token()).unwrap();
    let files = TokenFiles {
        token: Some(file.clone()),
        roots: None,
    };
    let svid = attest(&kept.control_plane, &files).await.unwrap();
    Keeper::new(directory.clone(), svid).unwrap();
    std::fs::write(&file, token.token()).unwrap();
    let arguments = [
        "usher-proxy",
        "--service",
        "transaction",
        "--namespace",
        "bank",
    ];
    let (state, file) = (directory.file(""), file.display().to_string());
    let more = [
        "--state-dir",
        state.to_str().unwrap(),
        "--token-file",
        &file,
    ];
    let bootstrap = Bootstrap::read([&arguments[..], &more].concat(), &Default::default()).unwrap();
    let standing = Standing::default();
    let svid = first_svid(&directory, &token.control_plane, &bootstrap, &standing).await;
    (svid, standing)
}

#[tokio::test]
async fn a_token_of_another_mesh_counts_more_than_a_kept_identity() {
    let (old, new) = (Fake::start().await, Fake::start().await);
    let (svid, standing) = rejoin(&old, &new).await;
    assert_eq!(
        svid.unwrap().bundle.roots,
        std::slice::from_ref(&new.authority.root)
    );
    let facts = standing.load();
    assert!(!facts.identity_kept);
    let [notice] = &facts.notices[..] else {
        panic!("{:?}", facts.notices)
    };
    assert!(
        notice.contains("is of another mesh than the token in"),
        "{notice}"
    );

    let (svid, standing) = rejoin(&old, &old).await;
    assert_eq!(
        svid.unwrap().bundle.roots,
        std::slice::from_ref(&old.authority.root)
    );
    assert!(standing.load().identity_kept && standing.load().notices.is_empty());
    assert_eq!(
        old.calls(),
        ["attest", "attest"],
        "none for the identity that was kept"
    );
}

#[test]
fn a_token_for_another_account_than_the_one_asked_for_ends_the_start() {
    let attested: SpiffeId = "spiffe://mesh/ns/shop/sa/web".parse().unwrap();
    for fits in [&[][..], &["--service-account", "web"]] {
        assert!(must_be_meant(&attested, &start(fits)).is_ok());
    }
    let batch = start(&["--service-account", "batch", "--token-file", "t"]);
    let refused = must_be_meant(&attested, &batch).unwrap_err();
    assert!(refused.is_final());
    assert_eq!(
        refused.to_string(),
        "the token in t is for spiffe://mesh/ns/shop/sa/web, but --service-account says batch: make one with \
         `usher token create --namespace shop --service-account batch`"
    );
}
