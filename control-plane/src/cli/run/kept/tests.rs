//! Which file is an identity to go on with.

use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

#[test]
fn an_identity_of_another_account_namespace_or_mesh_or_none_at_all_is_nothing_to_go_on_with() {
    let mut params = CertificateParams::default();
    let name = "spiffe://mesh/ns/shop/sa/web".try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(name)];
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let chain = [STANDARD.encode(certificate.der())];
    // Its own root, as far as this is concerned.
    let file = serde_json::json!({ "key": "", "chain": chain, "roots": chain }).to_string();
    let (shop, bank): (Name, Name) = ("shop".parse().unwrap(), "bank".parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let fits = |file: &str, namespace, account| {
        let token = Some(token.as_path());
        let wanted = Wanted {
            namespace,
            account,
            token,
        };
        fits(file.as_bytes(), wanted)
    };
    assert!(fits(&file, &shop, None));
    assert!(fits(&file, &shop, Some("web")));
    assert!(!fits(&file, &shop, Some("batch")));
    assert!(!fits(&file, &bank, None));
    for other in ["", "{}", r#"{"chain":[]}"#, r#"{"chain":["AAAA"]}"#] {
        assert!(!fits(other, &shop, None), "{other}");
    }
    let pin = pin_of(certificate.der()).unwrap();
    let secret = "x".repeat(43);
    std::fs::write(&token, format!("usher1.0123456789abcdef.{secret}.{pin}\n")).unwrap();
    assert!(fits(&file, &shop, None), "a token of the same mesh");
    let other = "ab".repeat(32);
    std::fs::write(
        &token,
        format!("usher1.0123456789abcdef.{secret}.{other}\n"),
    )
    .unwrap();
    assert!(!fits(&file, &shop, None), "a token of another mesh");
    let former = [STANDARD.encode([0xab; 32])];
    let rotated = serde_json::json!({ "chain": chain, "roots": chain, "formerRoots": former });
    let rotated = rotated.to_string();
    assert!(fits(&rotated, &shop, None), "of a root that went");
    std::fs::remove_file(&token).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    let over = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let chain = [STANDARD.encode(over.der())];
    let file = serde_json::json!({ "key": "", "chain": chain, "roots": chain }).to_string();
    assert!(!fits(&file, &shop, None), "one that is over");
}
