//! Refusals in a swarm, with bodies still on their way.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{http::finish::Refused, worker::Phase};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
/// `:method POST`, `:scheme http`, `:path /` in HPACK's static table, and `:authority a`.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];

/// `x: y`, a literal.
const TRAILERS: &[u8] = &[0, 1, b'x', 1, b'y'];

/// As many as the pool puts on one connection.
const CALLERS: u32 = 128;
/// A stream's window in frames of the usual size.
const FRAMES_EACH: usize = 8;
/// Within a second or two, on a fast machine.
const SWARMS: u32 = 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The kind of the next frame and what it carries.
async fn next(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let [a, b, c, kind, ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    (kind, payload)
}

async fn refuse_everybody(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let (_trigger, drain) = crate::worker::drain();
    let until = UntilDrain {
        drain,
        phase: Phase::InboundDraining,
    };
    let handler = |_: Request<Body>, _: Interim| -> Handling {
        Box::pin(async {
            let mut refusal = Response::new(Body::Empty);
            refusal.extensions_mut().insert(Refused);
            refusal
        })
    };
    let window = crate::http::windows::CONNECTION_WINDOW;
    let served = http2(Stream::Plain(stream), (until, Idle::MESH), window, &handler);
    let _ = Box::pin(served).await;
}

#[tokio::test(flavor = "local")]
async fn bodies_of_requests_that_were_refused_are_no_flood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut caller = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    spawn_local(refuse_everybody(listener));
    let settings = frame(SETTINGS, 0, 0, &[]);
    caller
        .write_all(&[PREFACE, &settings].concat())
        .await
        .unwrap();
    for swarm in 0..SWARMS {
        let streams = (0..CALLERS).map(|number| (swarm * CALLERS + number) * 2 + 1);
        let heads: Vec<u8> = streams
            .clone()
            .flat_map(|stream| frame(HEADERS, END_HEADERS, stream, POST))
            .collect();
        caller.write_all(&heads).await.unwrap();
        let mut refused = 0;
        while refused < CALLERS {
            let (kind, payload) = next(&mut caller).await;
            assert_ne!(kind, GOAWAY, "{payload:?}");
            refused += u32::from(kind == RST_STREAM && payload == REFUSED_STREAM);
        }
        // What they had sent before they heard of it.
        let body: Vec<u8> = streams
            .flat_map(|stream| frame(DATA, 0, stream, &[b'x'; 100]).repeat(FRAMES_EACH))
            .collect();
        caller.write_all(&body).await.unwrap();
        let last = (swarm * CALLERS + CALLERS - 1) * 2 + 1;
        let trailers = frame(HEADERS, END_STREAM | END_HEADERS, last, TRAILERS);
        caller.write_all(&trailers).await.unwrap();
    }
    caller.write_all(&frame(PING, 0, 0, &[1; 8])).await.unwrap();
    loop {
        let (kind, payload) = next(&mut caller).await;
        assert_ne!(kind, GOAWAY, "{payload:?}");
        if kind == PING && payload == [1; 8] {
            break;
        }
    }
}
