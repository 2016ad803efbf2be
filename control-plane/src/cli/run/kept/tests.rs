//! Which file is an identity to go on with.

use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

#[test]
fn an_identity_of_another_account_or_namespace_or_none_at_all_is_nothing_to_go_on_with() {
    let mut params = CertificateParams::default();
    let name = "spiffe://mesh/ns/shop/sa/web".try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(name)];
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let chain = [STANDARD.encode(certificate.der())];
    let file = serde_json::json!({ "key": "", "chain": chain }).to_string();
    let (shop, bank): (Name, Name) = ("shop".parse().unwrap(), "bank".parse().unwrap());
    assert!(fits(file.as_bytes(), &shop, None));
    assert!(fits(file.as_bytes(), &shop, Some("web")));
    assert!(!fits(file.as_bytes(), &shop, Some("batch")));
    assert!(!fits(file.as_bytes(), &bank, None));
    for other in ["", "{}", r#"{"chain":[]}"#, r#"{"chain":["AAAA"]}"#] {
        assert!(!fits(other.as_bytes(), &shop, None), "{other}");
    }
}
