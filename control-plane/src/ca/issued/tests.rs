//! What an auditor reads afterwards.

use std::os::unix::fs::PermissionsExt as _;

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    super::{
        authority::IssueError,
        svid::ProvenKey,
        tests::{account, authority},
    },
    *,
};

fn key() -> ProvenKey {
    ProvenKey::of(&KeyPair::generate().expect("random")).expect("P-256")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn each_certificate_is_a_line_that_leads_to_it_and_to_who_asked() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let path = directory.path().join("ca/issued.jsonl");
    let now = OffsetDateTime::now_utc();
    let address = Some(IpAddr::from([127, 0, 0, 9]));
    let all = [
        Grounds::Token {
            token: "abc",
            address,
        },
        Grounds::Svid { address: None },
        Grounds::ControlPlane,
    ];
    let issue = |grounds| authority.issue(&account(), &key(), now, grounds);
    let svids = all.map(|grounds| issue(grounds).expect("issued"));
    let found: Vec<Value> = lines(&path)
        .into_iter()
        .filter(|line| line["proof"] != "intermediate")
        .collect();
    assert_eq!(found.len(), svids.len());
    assert_eq!(lines(&path).len(), svids.len() + 1, "and our intermediate");
    for (line, svid) in found.iter().zip(&svids) {
        let (_, leaf) = X509Certificate::from_der(&svid.chain[0]).expect("DER");
        let serial = leaf
            .raw_serial()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        assert_eq!(line["serial"], serial);
        assert_eq!(line["spiffe_id"], account().as_str());
        let root: CertificateDer<'_> = svid.chain[0].clone();
        assert_eq!(line["root"], authority.pin());
        assert_eq!(
            line["key_sha256"].as_str(),
            super::super::authority::pin_of(&root).as_deref()
        );
        let until = line["not_after"].as_str().expect("a text");
        let until = OffsetDateTime::parse(until, &time::format_description::well_known::Rfc3339);
        assert_eq!(until.expect("RFC 3339"), svid.not_after);
    }
    let proofs: Vec<_> = found.iter().map(|line| line["proof"].clone()).collect();
    assert_eq!(proofs, ["token", "svid", "control_plane"]);
    assert_eq!(
        (&found[0]["token"], &found[0]["address"]),
        (&Value::from("abc"), &Value::from("127.0.0.9"))
    );
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_log_that_is_moved_away_begins_anew() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let path = directory.path().join("ca/issued.jsonl");
    let now = OffsetDateTime::now_utc();
    let issue = || authority.issue(&account(), &key(), now, Grounds::ControlPlane);
    issue().expect("issued");
    fs::rename(&path, path.with_extension("1")).expect("renamed");
    issue().expect("issued");
    assert_eq!(lines(&path).len(), 1);
    let before = lines(&path.with_extension("1")).len();
    assert_eq!(before, 2, "our intermediate, and the first");
}

#[test]
fn what_cannot_be_recorded_is_not_signed() {
    let directory = tempfile::tempdir().expect("writable");
    let authority = authority(directory.path());
    let path = directory.path().join("ca/issued.jsonl");
    // A folder in its place: also for root, whom no mode keeps from writing.
    fs::remove_file(&path).expect("there");
    fs::create_dir(&path).expect("made");
    let now = OffsetDateTime::now_utc();
    let refused = authority.issue(&account(), &key(), now, Grounds::ControlPlane);
    let error = refused.expect_err("not signed");
    assert!(matches!(error, IssueError::NotRecorded { .. }), "{error}");
    assert!(
        error.to_string().contains("issued.jsonl"),
        "says where: {error}"
    );
}
