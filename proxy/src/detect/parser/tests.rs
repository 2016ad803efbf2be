//! The first byte that decides, decides.

use proptest::prelude::*;

use super::*;

#[test]
fn first_bytes_tell_the_protocol() {
    for (bytes, detected) in [
        (&b"GET / HTTP/1.1\r\n"[..], Detected::Http1),
        (b"GET /", Detected::Http1),
        (b"OPTIONS *", Detected::Http1),
        (b"GET http://account.bank/", Detected::Http1),
        (b"GET HTTP://account.bank/", Detected::Http1),
        (b"CONNECT a:443", Detected::Http1),
        (b"M-SEARCH *", Detected::Http1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detected::Http2Preface),
        (b"PRI * HTTP/1.1\r\n", Detected::Http1),
        (b"\x16\x03\x01\x02\x00\x01", Detected::Tls),
        (b"\x16\x03\x01\x02\x00\x02", Detected::Unknown),
        (b"\x16\x03\x01\xff\x00\x01", Detected::Unknown),
        (b"\x16\x02", Detected::Unknown),
        (b"PING\r\n", Detected::Unknown),
        (b"GET key\r\n", Detected::Unknown),
        (b"HELO mail.example\r\n", Detected::Unknown),
        (b"get / HTTP/1.1\r\n", Detected::Unknown),
        (b" GET /", Detected::Unknown),
        (b"\x00\x00\x00\x4e\x0a", Detected::Unknown),
        (b"SSH-2.0-OpenSSH", Detected::Unknown),
        (b"", Detected::NeedMore),
        (b"G", Detected::NeedMore),
        (b"PRI * HTTP/2", Detected::NeedMore),
        (b"GET ht", Detected::NeedMore),
        (b"\x16\x03\x01", Detected::NeedMore),
    ] {
        assert_eq!(
            detect(bytes),
            detected,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn what_a_lenient_server_would_take_for_http_is_http() {
    for (bytes, detected) in [
        (&b"GET / HTTP/1.1\r\n"[..], Detected::Http1),
        (b"\r\nGET / HTTP/1.1\r\n", Detected::Http1),
        (b"\n\n\nGET / HTTP/1.0\n", Detected::Http1),
        (b"get / HTTP/1.1\r\n", Detected::Http1),
        (b"G!T / HTTP/1.1\r\n", Detected::Http1),
        (b"GET account.bank HTTP/1.1\r\n", Detected::Http1),
        (b"GET\t/  HTTP/1.1\r\n", Detected::Http1),
        (b" GET / HTTP/1.1\r\n", Detected::Http1),
        (b"get / http/1.1", Detected::Http1),
        (b"\r", Detected::NeedMore),
        (b"\r\n\r\nge", Detected::NeedMore),
        (b"get / HTT", Detected::NeedMore),
        (b"get key\r", Detected::NeedMore),
        (b"get key\r\n", Detected::Unknown),
        (b"get HTTP/1.1\r\n", Detected::Unknown),
        (b"set key 0 0 5\r\n", Detected::Unknown),
        (b"OPTIONS rtsp://a RTSP/1.0\r\n", Detected::Unknown),
        (b"*2\r\n$4\r\n", Detected::Unknown),
        (b"AMQP\x00\x00\x09\x01", Detected::Unknown),
        (b"SSH-2.0-OpenSSH_9 Debian\r\n", Detected::Unknown),
        (b"\x00\x00\x00\x4e\x0a", Detected::Unknown),
        (b"\x16\x03\x01\x02\x00\x01", Detected::Tls),
    ] {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(detect_as_a_server_may(bytes), detected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn enough_bytes_always_decide(bytes in prop::collection::vec(any::<u8>(), ENOUGH..ENOUGH + 4)) {
        prop_assert_ne!(detect(&bytes), Detected::NeedMore);
    }

    #[test]
    fn enough_letters_always_decide(text in "[A-Z]{0,30} ?[a-z:/]{33}") {
        prop_assert_ne!(detect(text.as_bytes()), Detected::NeedMore);
    }

    /// A decision is never taken back by later bytes.
    #[test]
    fn more_bytes_never_change_a_decision(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "(GET|PRI|CONNECT) [*/h][a-zA-Z0-9/:. ]{0,20}".prop_map(String::into_bytes),
            "[\r\n ]{0,3}(GET|get)[ \t]{0,2}[/k][ ]{0,2}HTTP/1.1[\r\n]{0,2}".prop_map(String::into_bytes),
        ],
    ) {
        for read in [detect, detect_as_a_server_may] {
            let mut decided = Detected::NeedMore;
            for end in 0..=bytes.len() {
                let now = read(&bytes[..end]);
                if decided != Detected::NeedMore {
                    prop_assert_eq!(now, decided);
                }
                decided = now;
            }
        }
    }
}
