//! Bodies whose end could be in two places.

use super::{BAD, Case, Fate, SMUGGLED, case};

pub(super) fn lengths() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "+4",
        "-4",
        "0x4",
        "4,4",
        "4, 4",
        "4 4",
        "4;",
        "4.0",
        "four",
        "",
        "4\u{b}",
        "\u{a0}4",
        "18446744073709551620",
        "9223372036854775808",
        "99999999999999999999999",
        "4\0",
        "''4",
        "\"4\"",
        "4e0",
        "1_0",
    ]
    .iter()
    .map(|value| {
        case(
            format!(
                "POST ^ HTTP/1.1\r\nHost: api\r\nContent-Length: {value}\r\n\r\nbody{SMUGGLED}"
            ),
            BAD,
        )
    })
    .collect();
    for fields in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-length: 04\r\n",
        "Content-Length: 4\r\nContent-Length:\r\n",
        "Content-Length : 4\r\n",
        "Content-Length\t: 4\r\n",
        " Content-Length: 4\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    ] {
        cases.push(case(
            format!("POST ^ HTTP/1.1\r\nHost: api\r\n{fields}\r\n0\r\n\r\n{SMUGGLED}"),
            BAD,
        ));
    }
    cases
}

/// Values that are not `chunked`.
const VALUES: &[&str] = &[
    "xchunked",
    "chunkedx",
    "chunked x",
    "x chunked",
    "chunk",
    "chunked;",
    "chunked; a=b",
    "chunked;a",
    "chunked,",
    ",chunked",
    ", chunked",
    "chunked, chunked",
    "chunked,identity",
    "chunked, identity",
    "identity, chunked",
    "identity,chunked",
    "identity",
    "gzip",
    "chunked, gzip",
    "deflate",
    "cow, chunked",
    "chunked, cow",
    "'chunked'",
    "\"chunked\"",
    "ch\"unked\"",
    "(chunked)",
    "chu nked",
    "chu\tnked",
    "chunked\u{b}",
    "\u{b}chunked",
    "\u{c}chunked",
    "chunked\u{c}",
    "\u{a0}chunked",
    "chunked\u{a0}",
    "\u{85}chunked",
    "chunked\0",
    "\0chunked",
    "c\0hunked",
    "chunked\u{1}",
    "\u{7f}chunked",
    "chunked\u{ff}",
    "chunk\u{e9}d",
    "",
    " ",
    ",",
    ";",
    "null",
    "true",
    "1",
    "%63hunked",
    "=?utf-8?q?chunked?=",
    "chunked:",
    "chunked/1.1",
    "chunked=1",
    "q=1, chunked",
    "trailers, chunked",
    "chunked;q=0.5",
    "hunked",
];

/// Lines that are no such field, or one too many.
const LINES: &[&str] = &[
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "X: a\r\n Transfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: chunked\r\n , identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer\u{b}-Encoding: chunked",
    "Transfer-Encoding\u{a0}: chunked",
    "Transfer Encoding: chunked",
    ":Transfer-Encoding: chunked",
    "Transfer-Encoding chunked",
    "Transfer-Encoding\r\n: chunked",
    "X: a\rTransfer-Encoding: chunked",
    "X: a\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r",
    "Transfer-Encoding:\u{b}chunked",
    "\u{b}Transfer-Encoding: chunked",
];

/// Transfer codings that somebody, somewhere, takes for `chunked`, or does not.
pub(super) fn codings() -> Vec<Case> {
    let mut values: Vec<String> = VALUES.iter().map(|value| (*value).to_owned()).collect();
    for octet in (0x01..=0x1f_u8).filter(|octet| !matches!(octet, b'\t' | b'\n' | b'\r')) {
        let octet = char::from(octet);
        values.push(format!("{octet}chunked"));
        values.push(format!("chunked{octet}"));
        values.push(format!("chun{octet}ked"));
    }
    let tail = format!("\r\n0\r\n\r\n{SMUGGLED}");
    let post = |line: &str| format!("POST ^ HTTP/1.1\r\nHost: api\r\n{line}\r\n{tail}");
    let mut cases: Vec<Case> = Vec::new();
    for value in &values {
        cases.push(case(post(&format!("Transfer-Encoding: {value}")), BAD));
        // With a length beside it: whoever overlooks the coding takes the length.
        cases.push(case(
            post(&format!("Content-Length: 4\r\nTransfer-Encoding: {value}")),
            BAD,
        ));
    }
    for coding in ["gzip, chunked", "deflate,chunked", "x-gzip ,\tchunked"] {
        cases.push(case(
            post(&format!("Transfer-Encoding: {coding}")),
            Fate::Refused(501),
        ));
    }
    for lines in LINES {
        cases.push(case(post(lines), BAD));
        cases.push(case(post(&format!("Content-Length: 4\r\n{lines}")), BAD));
    }
    cases.push(case(
        format!("POST ^ HTTP/1.0\r\nHost: api\r\nTransfer-Encoding: chunked\r\n{tail}"),
        BAD,
    ));
    cases
}

pub(super) fn chunks() -> Vec<Case> {
    [
        "0x4\r\nbody\r\n0\r\n\r\n",
        "-1\r\nbody\r\n0\r\n\r\n",
        "+4\r\nbody\r\n0\r\n\r\n",
        "4 \r\nbody\r\n0\r\n\r\n",
        " 4\r\nbody\r\n0\r\n\r\n",
        "4\t\r\nbody\r\n0\r\n\r\n",
        "4\nbody\n0\n\n",
        "4;ext\nbody\r\n0\r\n\r\n",
        "4;a\rb\r\nbody\r\n0\r\n\r\n",
        "4;\0\r\nbody\r\n0\r\n\r\n",
        "10000000000000004\r\nbody\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nbody\r\n0\r\n\r\n",
        "00000000000000000004\r\nbody\r\n0\r\n\r\n",
        "4\r\nbody0\r\n\r\n",
        "4\r\nbody\n0\r\n\r\n",
        "4\r\nbodybody\r\n0\r\n\r\n",
        "4\r\nbo\r\n0\r\n\r\n",
        "\r\n4\r\nbody\r\n0\r\n\r\n",
        "g\r\nbody\r\n0\r\n\r\n",
        "4,4\r\nbody\r\n0\r\n\r\n",
        "4\r\nbody\r\n0\r\nX : a\r\n\r\n",
        "4\r\nbody\r\n0\r\n X: a\r\n\r\n",
        "4\r\nbody\r\n0\r\nX\r\n\r\n",
        "4\r\nbody\r\n0\r\nX: a\n\r\n",
        "4\r\nbody\r\n0\r\n\n",
        "4\r\nbody\r\n0\n\r\n",
        "4\rbody\r\n0\r\n\r\n",
        "4\r\nbody\r\n0\r\nX: a\0\r\n\r\n",
        "4\r\nbody\r\n0\r\nX: a\r\n b\r\n\r\n",
        "4\u{b}\r\nbody\r\n0\r\n\r\n",
        "4\"\r\nbody\r\n0\r\n\r\n",
    ]
    .iter()
    .map(|body| {
        case(
            format!(
                "POST ^ HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"
            ),
            Fate::Stopped,
        )
    })
    .collect()
}
