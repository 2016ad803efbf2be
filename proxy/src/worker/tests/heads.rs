//! Requests that are refused before they are routed: the log and the metrics tell them like all others.

use usher_config::model::{MtlsMode, TrafficPolicy};

use super::harness::Mesh;

const PATHS: [(&str, &str); 3] = [
    ("/v1/accounts;x", "path-parameters"),
    ("/v1%2Faccounts", "path-ambiguous"),
    ("/../v1/accounts", "path-above-root"),
];

fn get(host: &str, target: &str) -> String {
    format!("GET {target}?token=s3cret HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_refused_path_is_logged_with_whom_it_was_for_and_without_its_query() {
    let mesh = Mesh::start(TrafficPolicy::default());
    for (path, slug) in PATHS {
        let answer = mesh.raw(&get("account.bank", path));
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        let line = mesh.logged_by_caller(slug);
        let path = path.replace('\\', r"\\");
        for told in [
            r#""method":"GET""#.to_owned(),
            r#""authority":"account.bank""#.to_owned(),
            format!(r#""path":"{path}""#),
            r#""destination_service":"bank/account""#.to_owned(),
        ] {
            assert!(line.contains(&told), "{told}: {line}");
        }
        assert!(!line.contains("s3cret"), "{line}");
    }
    mesh.counted_by_caller(
        r#"usher_requests_total{direction="outbound",service="bank/account",route="",peer="bank/account",code="400",flag="DPE"} 3"#,
    );
}

#[test]
fn whom_nobody_knows_yet_is_named_in_the_log_alone() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.raw(&get("nobody.bank", "/a;b"));
    let line = mesh.logged_by_caller("path-parameters");
    assert!(
        line.contains(r#""authority":"nobody.bank","path":"/a;b""#),
        "{line}"
    );
    assert!(!line.contains("destination_service"), "{line}");
}

#[test]
fn what_is_said_of_a_user_is_in_no_log() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.raw(&get("me:s3cret@account.bank", "/"));
    let line = mesh.logged_by_caller("host-with-user-information");
    assert!(
        line.contains(r#""authority":"account.bank","path":"/""#),
        "{line}"
    );
    assert!(!line.contains("s3cret"), "{line}");
}

#[test]
fn of_a_head_that_nobody_can_read_nothing_is_made_up() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let answer = mesh.raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let line = mesh.logged_by_caller("host-repeated");
    assert!(line.contains(r#""authority":"","path":"""#), "{line}");
}

#[test]
fn a_caller_without_a_sidecar_and_a_bad_path_are_logged_where_they_are_refused() {
    let mesh = Mesh::start(TrafficPolicy::default());
    let told = r#""authority":"account.bank","path":"/a;b""#;
    mesh.plaintext(get("account.bank", "/a;b").as_bytes());
    let line = mesh.logged_by_callee("mutual-tls-required");
    assert!(line.contains(told), "{line}");
    mesh.inbound(|policy| policy.mtls = MtlsMode::Permissive);
    mesh.plaintext(get("account.bank", "/a;b").as_bytes());
    let line = mesh.logged_by_callee("path-parameters");
    assert!(line.contains(told), "{line}");
    assert!(
        line.contains(r#""destination_service":"bank/account""#),
        "{line}"
    );
}
