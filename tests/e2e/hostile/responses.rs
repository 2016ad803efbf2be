//! An application that answers with what is not HTTP, or HTTP of two minds: its callers get one clear answer,
//! and the next request on the connection its own.

use std::time::Duration;

use anyhow::Result;
use usher_tests::raw::{Act, RawOrigin, say};

use super::{PATIENCE, open_pair, reference};

/// What a caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// This answer, whole.
    Passed(u16, &'static str),
    /// 502 with this flag.
    Bad(&'static str),
    /// The beginning of an answer, and a connection that ends without its end.
    Cut,
}

struct Answer {
    bytes: String,
    close: bool,
    fate: Fate,
}

fn answer(bytes: impl Into<String>, fate: Fate) -> Answer {
    Answer {
        bytes: bytes.into(),
        close: false,
        fate,
    }
}

fn cut(bytes: &str, fate: Fate) -> Answer {
    Answer {
        close: true,
        ..answer(bytes, fate)
    }
}

const UPE: Fate = Fate::Bad("UPE");
const EXTRA: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned";

fn framing() -> Vec<Answer> {
    let mut answers: Vec<Answer> = [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 2\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -2\r\n",
        "Content-Length: x\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 2\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\r\n Content-Length: 2\r\n",
        ": a\r\n",
        "X\r\n",
    ]
    .iter()
    .map(|fields| {
        answer(
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n2\r\nok\r\n0\r\n\r\n{EXTRA}"),
            UPE,
        )
    })
    .collect();
    answers.push(answer(
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        UPE,
    ));
    answers
}

fn lines() -> Vec<Answer> {
    let mut answers: Vec<Answer> = [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1 099 Low",
        "HTTP/2.0 200 OK",
        "HTP/1.1 200 OK",
        "HTTP/1.1  200 OK",
        "200 OK",
        "HTTP/1.1",
        "http/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "hello, I am not HTTP",
        "HTTP/1.1 101 Switching Protocols",
    ]
    .iter()
    .map(|line| answer(format!("{line}\r\nContent-Length: 2\r\n\r\nok{EXTRA}"), UPE))
    .collect();
    let many = "X: a\r\n".repeat(120);
    let large = format!("X: {}\r\n", "a".repeat(70 * 1024));
    answers.push(answer(
        format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\nok"),
        UPE,
    ));
    answers.push(answer(
        format!("HTTP/1.1 200 OK\r\n{large}Content-Length: 2\r\n\r\nok"),
        UPE,
    ));
    answers
}

fn bodies() -> Vec<Answer> {
    vec![
        answer(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Fate::Passed(200, "ok"),
        ),
        answer(
            "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
            Fate::Passed(200, "ok"),
        ),
        answer(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{EXTRA}"),
            Fate::Passed(200, "ok"),
        ),
        answer(
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            Fate::Passed(204, ""),
        ),
        answer(
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{EXTRA}"),
            Fate::Passed(304, ""),
        ),
        answer(
            format!(
                "{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(2_000)
            ),
            Fate::Passed(200, "ok"),
        ),
        cut(
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            Fate::Passed(200, "until the end"),
        ),
        cut(
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            Fate::Cut,
        ),
        cut(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            Fate::Cut,
        ),
        cut(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
            Fate::Cut,
        ),
        answer(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nxyz\r\n",
            Fate::Cut,
        ),
        answer(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokok\r\n0\r\n\r\n",
            Fate::Cut,
        ),
        answer(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok",
            Fate::Cut,
        ),
        cut("HTTP/1.1 200 OK\r\nContent-Le", Fate::Bad("U")),
        cut("", Fate::Bad("")),
    ]
}

fn all() -> Vec<Answer> {
    let mut all = framing();
    all.extend(lines());
    all.extend(bodies());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_breaks_http_cannot_confuse_its_callers() -> Result<()> {
    let origin = RawOrigin::start(|bytes, before| {
        let (messages, _) = reference::messages(bytes).unwrap_or_default();
        let (old, _) = reference::messages(&bytes[..before]).unwrap_or_default();
        let mut act = Act::default();
        for message in &messages[old.len()..] {
            let number = message
                .target
                .strip_prefix("/answer-")
                .and_then(|number| number.parse().ok());
            match number.and_then(|number: usize| all().into_iter().nth(number)) {
                Some(answer) => {
                    act.write.extend(answer.bytes.bytes());
                    act.close |= answer.close;
                }
                None => act
                    .write
                    .extend(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"),
            }
        }
        act
    })
    .await?;
    let (_mesh, api, web) = open_pair(origin.port()).await?;
    let mut wrong = Vec::new();
    for (number, answer) in all().iter().enumerate() {
        for address in [&api.inbound, &web.outbound] {
            let ask =
                format!("GET /answer-{number} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
            let heard = say(address, &[ask.as_bytes()], 3 * PATIENCE).await?;
            if let Err(why) = judge(answer.fate, &heard.text, heard.closed) {
                let bytes: String = answer.bytes.chars().take(120).collect();
                wrong.push(format!(
                    "{bytes:?} {:?}: {why}: {:?}",
                    answer.fate,
                    heard.text.chars().take(300).collect::<String>()
                ));
            }
            let ask = b"GET /canary HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n";
            let canary = say(address, &[ask], Duration::from_secs(3)).await?;
            if !canary.text.starts_with("HTTP/1.1 200") || !canary.text.ends_with("true") {
                wrong.push(format!(
                    "after {:?} the next request got {:?}",
                    answer.bytes.chars().take(120).collect::<String>(),
                    canary.text
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn judge(fate: Fate, text: &str, closed: bool) -> Result<(), &'static str> {
    if text.is_empty() && closed && fate == Fate::Cut {
        return Ok(());
    }
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    let head = head.to_ascii_lowercase();
    if !closed {
        return Err("not closed");
    }
    if head.contains("poisoned") || body.contains("poisoned") {
        return Err("poisoned");
    }
    match fate {
        Fate::Passed(status, expected) => {
            if !head.starts_with(&format!("http/1.1 {status}")) {
                return Err("another status");
            }
            let chunked = head.contains("transfer-encoding: chunked");
            let whole = if chunked {
                body.ends_with("0\r\n\r\n") && body.contains(expected)
            } else {
                body == expected
            };
            if whole { Ok(()) } else { Err("another body") }
        }
        Fate::Bad(flag) => {
            let reason = format!("x-usher-reason: {}", flag.to_ascii_lowercase());
            if head.starts_with("http/1.1 502") && head.contains(&reason) {
                Ok(())
            } else {
                Err("no 502 with the flag")
            }
        }
        Fate::Cut => {
            if head.starts_with("http/1.1 502") {
                return Ok(());
            }
            if body.ends_with("0\r\n\r\n")
                || (!head.contains("chunked") && !head.contains("content-length"))
            {
                return Err("looks whole");
            }
            Ok(())
        }
    }
}
