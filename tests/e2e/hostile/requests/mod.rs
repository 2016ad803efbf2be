//! The well-known malformed and smuggling requests, and what may become of each.

mod framing;

/// What has to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// This status, the connection closed, and nothing whole at the origin.
    Refused(u16),
    /// One message at the origin, with this body.
    Carried(&'static str),
    /// Nothing whole at the origin, whatever the caller hears.
    Stopped,
}

/// Bytes and their fate. `^` stands for the case's own path, `$` for one that must never be seen at the origin.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub bytes: Vec<u8>,
    pub fate: Fate,
}

fn case(text: impl AsRef<str>, fate: Fate) -> Case {
    // Latin-1: a test can write any octet as a character.
    let octet = |c: char| u8::try_from(u32::from(c)).expect("an octet");
    Case {
        bytes: text.as_ref().chars().map(octet).collect(),
        fate,
    }
}

const BAD: Fate = Fate::Refused(400);
const SMUGGLED: &str = "GET $ HTTP/1.1\r\nHost: api\r\n\r\n";

pub(super) fn all() -> Vec<Case> {
    [
        fair(),
        framing::lengths(),
        framing::codings(),
        framing::chunks(),
        lines(),
        fields(),
        expectations(),
        targets(),
        bounds(),
    ]
    .concat()
}

/// Unusual, and right.
fn fair() -> Vec<Case> {
    let get = |fields: &str| format!("GET ^ HTTP/1.1\r\nHost: api\r\n{fields}\r\n");
    vec![
        case(get(""), Fate::Carried("")),
        case(get("Content-Length: 4\r\n") + "body", Fate::Carried("body")),
        case(
            get("Transfer-Encoding: chunked\r\n") + "4\r\nbody\r\n0\r\n\r\n",
            Fate::Carried("body"),
        ),
        case(
            get("Transfer-Encoding: CHUNKED\r\n") + "4;a=b\r\nbody\r\n0\r\n\r\n",
            Fate::Carried("body"),
        ),
        case(
            get("Transfer-Encoding:\t chunked \t\r\n") + "4\r\nbody\r\n0\r\n\r\n",
            Fate::Carried("body"),
        ),
        case(
            get("Content-Length: \t4 \r\n") + "body",
            Fate::Carried("body"),
        ),
        case(
            get("Content-Length: 4\r\nExpect: 100-continue\r\n") + "body",
            Fate::Carried("body"),
        ),
        case(get("X-Text: caf\u{e9}\r\n"), Fate::Carried("")),
        case(get("X-Empty:\r\n"), Fate::Carried("")),
        case(
            get("Content-Length: 4\r\nConnection: content-length, host\r\n") + "body",
            Fate::Carried("body"),
        ),
        case(
            "GET http://api^ HTTP/1.1\r\nHost: api\r\n\r\n",
            Fate::Carried(""),
        ),
        case("GET ^ HTTP/1.0\r\nHost: api\r\n\r\n", Fate::Carried("")),
        case(format!("\r\n{}", get("")), Fate::Carried("")),
        case("PURGE ^ HTTP/1.1\r\nHost: api\r\n\r\n", Fate::Carried("")),
    ]
}

fn lines() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "GET ^ HTTP/1.1\nHost: api\n\n",
        "GET ^ HTTP/1.1\r\nHost: api\n\r\n",
        "GET ^ HTTP/1.1\r\nHost: api\r\n\n",
        "GET ^ HTTP/1.1\nHost: api\r\n\r\n",
        "GET ^ HTTP/1.1\rHost: api\r\n\r\n",
        "GET ^ HTTP/1.1\r\nHost: api\r\r\n\r\n",
        "GET ^ HTTP/1.1\r\r\nHost: api\r\n\r\n",
        "\nGET ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "\r\n\r\n\r\nGET ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "\rGET ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        " GET ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET  ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET ^  HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/1.1 \r\nHost: api\r\n\r\n",
        "GET\t^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET ^\tHTTP/1.1\r\nHost: api\r\n\r\n",
        "GET\u{b}^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET ^\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/1.1 x\r\nHost: api\r\n\r\n",
        "GE T ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET/ ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "get ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "Get ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET\0 ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "G\u{e9}T ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "(GET) ^ HTTP/1.1\r\nHost: api\r\n\r\n",
        "GET ^ http/1.1\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/1\u{b}.1\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/1.1\0\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/11\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/1.01\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/+1.1\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/1.1a\r\nHost: api\r\n\r\n",
        "GET ^ HTTPS/1.1\r\nHost: api\r\n\r\n",
        "GET ^ HTTP /1.1\r\nHost: api\r\n\r\n",
        "GET ^ ICY/1.1\r\nHost: api\r\n\r\n",
        "GET ^ HTTP/1.\r\nHost: api\r\n\r\n",
    ]
    .iter()
    .map(|text| case(format!("{text}{SMUGGLED}"), BAD))
    .collect();
    for version in ["1.2", "1.9", "2.0", "0.9", "9", "3", "3.0"] {
        cases.push(case(
            format!("GET ^ HTTP/{version}\r\nHost: api\r\n\r\n{SMUGGLED}"),
            Fate::Refused(505),
        ));
    }
    cases
}

fn fields() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "X : a",
        "X\t: a",
        " X: a",
        "\tX: a",
        "X",
        ": a",
        "X Y: a",
        "X\0: a",
        "X\u{7f}: a",
        "X\u{e9}: a",
        "X(: a",
        "X\": a",
        "X: a\0b",
        "X: a\u{1}b",
        "X: a\u{b}b",
        "X: a\u{1b}b",
        "X: a\u{7f}b",
        "X: a\rb",
        "X: a\r b",
        "X: a\nb",
        "X: a\r\n b",
        "X: a\r\n\tb",
        "Host: api",
        "Host: other",
        "host: api",
        "Host",
        "X: a\r\n \r\nY: b",
    ]
    .iter()
    .map(|line| {
        case(
            format!("GET ^ HTTP/1.1\r\nHost: api\r\n{line}\r\n\r\n{SMUGGLED}"),
            BAD,
        )
    })
    .collect();
    for (host, fate) in [
        ("", BAD),
        ("Host:\r\n", BAD),
        ("Host: a b\r\n", BAD),
        ("Host: a,b\r\n", BAD),
        ("Host: user@api\r\n", BAD),
        ("Host: api:80:80\r\n", BAD),
        ("Host: api:99999\r\n", BAD),
        ("Host: api:x\r\n", BAD),
        ("Host: api/x\r\n", BAD),
        ("Host: http://api\r\n", BAD),
        ("Host: api#a\r\n", BAD),
        ("Host: api?a\r\n", BAD),
        ("Host: [::1\r\n", BAD),
        ("Host: a\\b\r\n", BAD),
        ("Host: api\u{e9}\r\n", BAD),
        ("Host: \0api\r\n", BAD),
        ("Host: %61pi\r\n", BAD),
        ("Host : api\r\n", BAD),
        (" Host: api\r\n", BAD),
        ("Hos\tt: api\r\n", BAD),
    ] {
        cases.push(case(
            format!("GET ^ HTTP/1.1\r\n{host}\r\n{SMUGGLED}"),
            fate,
        ));
    }
    cases
}

fn expectations() -> Vec<Case> {
    let post = |expect: &str| {
        let head = "POST ^ HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\n";
        case(
            format!("{head}Expect: {expect}\r\n\r\nbody{SMUGGLED}"),
            Fate::Refused(417),
        )
    };
    ["200-ok", "100-continue, x", "100-continuex", "x=y"]
        .map(post)
        .to_vec()
}

fn targets() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "^#a",
        "^ a",
        "^\0",
        "^\u{1}",
        "^\u{7f}",
        "^\u{e9}",
        "^\\a",
        "^%00",
        "^%2fa",
        "^%5ca",
        "^;a=b/c",
        "*",
        "api:80",
        "api",
        "a^",
        "ftp://api^",
        "http://",
        "http:api^",
        "http://other^",
        "http://user@api^",
        "http://api:x^",
        "?a",
        "^%zz",
        "/../..^/%2e%2e%2f",
    ]
    .iter()
    .map(|target| {
        case(
            format!("GET {target} HTTP/1.1\r\nHost: api\r\n\r\n{SMUGGLED}"),
            Fate::Stopped,
        )
    })
    .collect();
    for target in ["api:80", "^", "http://api^"] {
        cases.push(case(
            format!("CONNECT {target} HTTP/1.1\r\nHost: api\r\n\r\n{SMUGGLED}"),
            Fate::Stopped,
        ));
    }
    cases.push(case(
        format!("CONNECT api:80 HTTP/1.1\r\nHost: api\r\n\r\n{SMUGGLED}"),
        Fate::Refused(405),
    ));
    cases
}

fn bounds() -> Vec<Case> {
    let many = "X: a\r\n".repeat(100);
    let large = format!("X: {}\r\n", "a".repeat(61 * 1024));
    let long = "a".repeat(33 * 1024);
    let endless = "a".repeat(100 * 1024);
    vec![
        case(
            format!("GET ^ HTTP/1.1\r\nHost: api\r\n{many}\r\n{SMUGGLED}"),
            Fate::Refused(431),
        ),
        case(
            format!("GET ^ HTTP/1.1\r\nHost: api\r\n{large}\r\n{SMUGGLED}"),
            Fate::Refused(431),
        ),
        case(
            format!("GET ^/{long} HTTP/1.1\r\nHost: api\r\n\r\n{SMUGGLED}"),
            Fate::Refused(414),
        ),
        case(format!("GET ^/{endless}"), Fate::Refused(414)),
        case(
            format!("GET ^ HTTP/1.1\r\nHost: api\r\nX: {endless}"),
            Fate::Refused(431),
        ),
    ]
}
