//! Only refusals of callers count, and only those since the attempt began.

use super::*;

#[test]
fn what_grew_is_named_with_its_labels() {
    let before =
        Metrics::parse("usher_tls_handshakes_total{direction=\"inbound\",outcome=\"failed\"} 3\n");
    let now = Metrics::parse(
        "usher_tls_handshakes_total{direction=\"inbound\",outcome=\"failed\"} 3
usher_tls_handshakes_total{direction=\"inbound\",outcome=\"ok\"} 70
usher_tls_handshakes_total{direction=\"outbound\",outcome=\"failed\"} 9
usher_requests_total{route=\"\",peer=\"plaintext\",code=\"403\",flag=\"AZ\"} 1
usher_requests_total{route=\"\",peer=\"plaintext\",code=\"200\",flag=\"\"} 5
",
    );
    let grown = since(&refusals(&before), refusals(&now));
    let expected = "usher_requests_total{peer=plaintext,code=403,flag=AZ}";
    assert_eq!(grown, [(expected.to_owned(), 1.0)].into());
}
