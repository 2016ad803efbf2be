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
    keep(&folder, &uri, &jwks).expect("writable");
    keep(&folder, &uri, &jwks).expect("again");
    fs::write(folder.join("other.json"), "{").expect("writable");
    assert_eq!(restore(&folder), BTreeMap::from([(uri, jwks)]));
}
