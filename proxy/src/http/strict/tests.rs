//! Nothing passes that could be read in two ways, however the bytes arrive.

use proptest::prelude::*;

use super::*;
use crate::error::Refusal;

/// What a whole input comes to: the bytes that passed, and the verdict that ended it.
fn run(parts: &[&[u8]]) -> (Vec<u8>, Verdict) {
    let mut scanner = Scanner::default();
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    let mut last = Verdict::Hold;
    for part in parts {
        held.extend_from_slice(part);
        while !held.is_empty() {
            last = scanner.scan(&held);
            match last {
                Verdict::Pass(length) => passed.extend(held.drain(..length)),
                Verdict::Skip(length) => drop(held.drain(..length)),
                Verdict::Hold | Verdict::Wait => break,
                Verdict::Refuse(_) | Verdict::Broken => return (passed, last),
            }
        }
    }
    (passed, last)
}

fn verdict(head: &str) -> Result<Framing, Refusal> {
    let framing = judge(head.as_bytes());
    if let Err(refusal) = framing {
        let (passed, last) = run(&[head.as_bytes()]);
        assert!(passed.is_empty(), "{head:?}");
        // At the first byte less is known than of the whole.
        assert!(
            matches!(last, Verdict::Refuse(_)),
            "{head:?}: {refusal:?} {last:?}"
        );
    }
    framing
}

fn with(fields: &str) -> Result<Framing, Refusal> {
    verdict(&format!("POST /pay HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[test]
fn ordinary_requests_have_one_framing() {
    for (head, framing) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("GET / HTTP/1.0\r\n\r\n", Framing::Length(0)),
        (
            "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
            Framing::Length(0),
        ),
        ("OPTIONS * HTTP/1.1\r\nhost:a\r\n\r\n", Framing::Length(0)),
        (
            "PUT /%7e HTTP/1.1\r\nHOST:\t a \r\nX:\r\nContent-Length:\t12 \r\n\r\n",
            Framing::Length(12),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-ENCODING: Chunked\r\n\r\n",
            Framing::Chunked,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\r\n\r\n",
            Framing::Length(0),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            Framing::Upgrade,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n",
            Framing::Length(3),
        ),
    ] {
        assert_eq!(verdict(head), Ok(framing), "{head:?}");
    }
}

#[test]
fn a_request_line_has_three_parts_and_nothing_else() {
    for (line, refusal) in [
        ("GE T / HTTP/1.1", Refusal::RequestLine),
        ("GET /", Refusal::RequestLine),
        ("GET  / HTTP/1.1", Refusal::RequestLine),
        ("GET /  HTTP/1.1", Refusal::RequestLine),
        ("GET / HTTP/1.1 ", Refusal::RequestLine),
        ("GET\t/ HTTP/1.1", Refusal::RequestLine),
        ("GET / http/1.1", Refusal::RequestLine),
        ("GET / HTTP/11", Refusal::RequestLine),
        ("GET / HTTP/1.10", Refusal::RequestLine),
        ("GET / HTTP/1,1", Refusal::RequestLine),
        ("GET/ / HTTP/1.1", Refusal::Method),
        ("get / HTTP/1.1", Refusal::Method),
        ("G\u{0}T / HTTP/1.1", Refusal::Method),
        ("GET / HTTP/1.2", Refusal::Version),
        ("GET / HTTP/2.0", Refusal::Version),
        ("GET / HTTP/9", Refusal::Version),
        ("GET /#a HTTP/1.1", Refusal::Target),
        ("GET /\u{7f} HTTP/1.1", Refusal::Target),
        ("GET /caf\u{e9} HTTP/1.1", Refusal::Target),
        ("GET a/b HTTP/1.1", Refusal::Target),
        ("GET http:// HTTP/1.1", Refusal::Target),
        ("GET ftp://a/ HTTP/1.1", Refusal::Target),
        ("GET a:80 HTTP/1.1", Refusal::Target),
        ("GET * HTTP/1.1", Refusal::Target),
        ("CONNECT a:443 HTTP/1.1", Refusal::Connect),
        ("GET /\rb HTTP/1.1", Refusal::Target),
    ] {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(verdict(&head), Err(refusal), "{line:?}");
    }
}

#[test]
fn a_message_has_one_length() {
    for (fields, refusal) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Refusal::LengthAndCoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Refusal::LengthAndCoding,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Refusal::ContentLengthRepeated,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Refusal::ContentLengthRepeated,
        ),
        ("Content-Length: 5, 5\r\n", Refusal::ContentLength),
        ("Content-Length: +5\r\n", Refusal::ContentLength),
        ("Content-Length: -5\r\n", Refusal::ContentLength),
        ("Content-Length: 0x5\r\n", Refusal::ContentLength),
        ("Content-Length: 5 5\r\n", Refusal::ContentLength),
        ("Content-Length:\r\n", Refusal::ContentLength),
        (
            "Content-Length: 9223372036854775808\r\n",
            Refusal::ContentLength,
        ),
        (
            "Content-Length: 99999999999999999999\r\n",
            Refusal::ContentLength,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Refusal::TransferCoding,
        ),
        ("Transfer-Encoding: xchunked\r\n", Refusal::TransferCoding),
        (
            "Transfer-Encoding: chunked, identity\r\n",
            Refusal::TransferCoding,
        ),
        (
            "Transfer-Encoding: identity, chunked\r\n",
            Refusal::TransferCoding,
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Refusal::TransferCodingUnknown,
        ),
        (
            "Transfer-Encoding: \"chunked\"\r\n",
            Refusal::TransferCoding,
        ),
        ("Transfer-Encoding: chunked,\r\n", Refusal::TransferCoding),
        ("Transfer-Encoding:\r\n", Refusal::TransferCoding),
        ("Transfer-Encoding: \u{b}chunked\r\n", Refusal::FieldValue),
        ("Transfer-Encoding : chunked\r\n", Refusal::FieldName),
        ("Transfer-Encoding: \r\n chunked\r\n", Refusal::Folded),
    ] {
        assert_eq!(with(fields), Err(refusal), "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(verdict(old), Err(Refusal::TransferCodingInOldVersion));
    assert_eq!(
        with("Content-Length: 9223372036854775807\r\n"),
        Ok(Framing::Length(i64::MAX as u64))
    );
}

#[test]
fn fields_are_lines_of_name_and_value() {
    for (fields, refusal) in [
        ("X: a\n", Refusal::LineEnding),
        ("X: a\rY: b\r\n", Refusal::LineEnding),
        ("X: a\u{0}\r\n", Refusal::FieldValue),
        ("X: a\u{7f}\r\n", Refusal::FieldValue),
        ("X\u{0}: a\r\n", Refusal::FieldName),
        (": a\r\n", Refusal::FieldName),
        ("X\r\n", Refusal::FieldName),
        ("X Y: a\r\n", Refusal::FieldName),
        ("X: a\r\n\tb\r\n", Refusal::Folded),
        ("Host: b\r\n", Refusal::HostRepeated),
        ("Expect: 200-ok\r\n", Refusal::Expectation),
    ] {
        assert_eq!(with(fields), Err(refusal), "{fields:?}");
    }
    assert_eq!(verdict("GET / HTTP/1.1\r\n\r\n"), Err(Refusal::HostMissing));
    assert_eq!(
        verdict("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        Err(Refusal::Folded)
    );
    assert_eq!(
        verdict("GET / HTTP/1.1\nHost: a\n\n"),
        Err(Refusal::LineEnding)
    );
}

#[test]
fn a_head_is_bounded_in_size_and_number() {
    let many = "X: a\r\n".repeat(100);
    assert_eq!(with(&many), Err(Refusal::TooManyFields));
    let large = format!("X: {}\r\n", "a".repeat(60 * 1024));
    assert_eq!(with(&large), Err(Refusal::HeadTooLarge));
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(TARGET_MAX)
    );
    assert_eq!(verdict(&long), Err(Refusal::TargetTooLong));
    let endless = vec![b'A'; 61 * 1024];
    assert_eq!(run(&[&endless]).1, Verdict::Refuse(Refusal::TargetTooLong));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(61 * 1024));
    assert_eq!(
        run(&[endless.as_bytes()]).1,
        Verdict::Refuse(Refusal::HeadTooLarge)
    );
}

fn body(body: &str) -> (String, Verdict) {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (passed, last) = run(&[head.as_bytes(), body.as_bytes()]);
    let passed = String::from_utf8_lossy(&passed).into_owned();
    (passed.strip_prefix(head).unwrap().to_owned(), last)
}

#[test]
fn chunks_are_what_the_grammar_says() {
    for whole in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "00A\r\n0123456789\r\n0\r\n\r\n",
        "5;name=value;q=\"a b\"\r\nhello\r\n000\r\n\r\n",
        "0\r\nX-Sum: 7\r\nY:\r\n\r\n",
    ] {
        assert_eq!(body(whole), (whole.to_owned(), Verdict::Pass(whole.len())));
    }
    for malformed in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "0000000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\nX : a\r\n\r\n",
        "0\r\n X: a\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\n\n",
        "0\r\n\rX",
        "g\r\n",
    ] {
        assert_eq!(body(malformed).1, Verdict::Broken, "{malformed:?}");
    }
    let long = format!("5;{}", "a".repeat(70 * 1024));
    assert_eq!(body(&long).1, Verdict::Broken);
}

#[test]
fn requests_follow_each_other_where_bodies_end() {
    let all = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
               POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
               GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut scanner = Scanner::default();
    let mut rest = all.as_bytes();
    while let Verdict::Pass(length) = scanner.scan(rest) {
        rest = &rest[length..];
    }
    assert_eq!((rest.len(), scanner.requests()), (0, 3));
    assert!(!scanner.is_in_body());
    let (passed, last) = run(&[all.as_bytes(), b"GET /\r\n\r\n", all.as_bytes()]);
    assert_eq!(passed, all.as_bytes());
    assert_eq!(last, Verdict::Refuse(Refusal::RequestLine));
}

#[test]
fn one_empty_line_may_precede_a_request() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(run(&[b"\r\n", request.as_bytes()]).0, request.as_bytes());
    assert_eq!(run(&[b"\r\n\r\n", request.as_bytes()]).0, b"");
    assert_eq!(run(&[b"\n", request.as_bytes()]).0, b"");
}

#[test]
fn after_an_upgrade_is_asked_for_the_answer_decides() {
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut scanner = Scanner::default();
    assert_eq!(scanner.scan(ask), Verdict::Pass(ask.len()));
    assert_eq!(scanner.scan(b"\0\0"), Verdict::Wait);
    scanner.not_upgraded();
    assert_eq!(scanner.scan(ask), Verdict::Pass(ask.len()));
    scanner.upgraded();
    assert_eq!(scanner.scan(b"\0\0"), Verdict::Pass(2));
}

/// Pieces that, put together, are often nearly a request.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a HTTP/1.1\r\n",
        "PUT * HTTP/1.0\r\n",
        "Host: a\r\n",
        "Host:b\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Upgrade: x\r\n",
        "X-Y: z\r\n",
        "\r\n",
        "\n",
        "\r",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "hello",
        " ",
        ":",
        "\0",
        "5",
        ";a=b",
        "GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ])
}

proptest! {
    /// How a connection's bytes are cut decides nothing.
    #[test]
    fn the_verdict_does_not_depend_on_the_cuts(
        pieces in prop::collection::vec(piece(), 0..14),
        cuts in prop::collection::vec(0_usize..200, 0..6),
    ) {
        let all = pieces.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
        cuts.sort_unstable();
        cuts.push(all.len());
        let mut parts = Vec::new();
        let mut from = 0;
        for to in cuts {
            parts.push(&all[from..to]);
            from = to;
        }
        let (whole, cut) = (run(&[&all]), run(&parts));
        // In a body that breaks, what was in order before may have passed already.
        if whole.1 == Verdict::Broken {
            prop_assert_eq!(cut.1, Verdict::Broken);
            prop_assert!(cut.0.starts_with(&whole.0));
        } else {
            prop_assert_eq!(&whole.0, &cut.0);
        }
        if let Verdict::Refuse(_) = whole.1 {
            prop_assert!(matches!(cut.1, Verdict::Refuse(_)));
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        run(&[&bytes]);
        let _ = judge(&bytes);
    }
}
