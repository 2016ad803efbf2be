//! What was fetched is there after a restart.

use super::*;

const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

#[test]
fn a_set_that_was_kept_is_there_again_and_rubbish_beside_it_does_no_harm() {
    let folder = tempfile::tempdir().expect("writable");
    let folder = folder.path().join("jwks");
    assert!(restore(&folder).is_empty());
    let (uri, jwks): (JwksUri, Jwks) = (
        "https://a.test/keys".parse().expect("valid"),
        JWKS.parse().expect("valid"),
    );
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    keep(&folder, (&uri, &jwks), SystemTime::UNIX_EPOCH).expect("writable");
    keep(&folder, (&uri, &jwks), at).expect("again");
    fs::write(folder.join("other.json"), "{").expect("writable");
    assert_eq!(
        restore(&folder),
        BTreeMap::from([(uri.clone(), (jwks, at))])
    );
    keep_only(&folder, [&uri]).expect("writable");
    assert_eq!(restore(&folder).len(), 1);
    keep_only(&folder, []).expect("writable");
    assert_eq!(fs::read_dir(&folder).expect("there").count(), 0);
}
