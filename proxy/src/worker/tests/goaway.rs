//! An application that speaks HTTP/2 and says GOAWAY: streams above its last one were not processed, the others may have been.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use usher_config::model::{Algorithm, Protocol, TrafficPolicy};

use crate::snapshot::Change;

use super::{
    application::Answer,
    harness::{Mesh, text},
    sidecar::{Sidecar, inbound_policy, port},
};

/// What the application does with a stream, by the number of its connection.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// 200 without a body.
    Answer,
    /// GOAWAY with this last stream and error, and the end of the connection.
    Leave { last: u32, error: u32 },
    /// GOAWAY before the first stream, and a connection that is reset: something is left unread.
    Drop,
    /// Announces the end, as graceful servers do first, and answers.
    AnnounceAndAnswer,
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status 200` in HPACK's static table.
const STATUS_200: u8 = 0x88;
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn goaway(last: u32, error: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), error.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

struct Application {
    address: SocketAddr,
    /// Requests that it took, and did not say it had not.
    taken: Arc<AtomicUsize>,
    /// Connections that it had.
    connections: Arc<AtomicUsize>,
}

impl Application {
    fn start(act: impl Fn(usize) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (taken, connections) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (taking, connecting) = (taken.clone(), connections.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let act = act(connecting.fetch_add(1, Ordering::SeqCst));
                let taking = taking.clone();
                thread::spawn(move || serve(stream.unwrap(), act, &taking));
            }
        });
        Self {
            address,
            taken,
            connections,
        }
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// Ends with the connection.
fn serve(mut stream: TcpStream, act: Act, taken: &AtomicUsize) -> Option<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, _flags, id @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        stream.read_exact(&mut payload).ok()?;
        if kind != HEADERS {
            continue;
        }
        let id = u32::from_be_bytes(id);
        let answer = frame(HEADERS, END_STREAM | END_HEADERS, id, &[STATUS_200]);
        let processed =
            !matches!(act, Act::Drop) && !matches!(act, Act::Leave { last, .. } if last < id);
        taken.fetch_add(usize::from(processed), Ordering::SeqCst);
        match act {
            Act::Answer => stream.write_all(&answer).ok()?,
            Act::AnnounceAndAnswer => {
                let announced = goaway(u32::MAX >> 1, NO_ERROR);
                stream.write_all(&[announced, answer].concat()).ok()?;
            }
            Act::Drop => {
                // The body, which is never read.
                stream.peek(&mut [0]).ok()?;
                return stream.write_all(&goaway(0, NO_ERROR)).ok();
            }
            Act::Leave { last, error } => {
                stream.write_all(&goaway(last, error)).ok()?;
                stream.shutdown(Shutdown::Write).ok()?;
                // Closed with something unread the connection would be reset, and the GOAWAY might be lost.
                let _ = io::copy(&mut stream, &mut io::sink());
                return None;
            }
        }
    }
}

/// A sidecar beside such an application, and the mesh that knows it as the only endpoint, or as a second one.
fn beside(mesh: &Mesh, application: &Application) -> Sidecar {
    let sidecar = Sidecar::start(&mesh.authority, 1, "account", Some(application.address));
    let mut policy = inbound_policy("account");
    policy.ports = vec![(port().port, Protocol::Http2)];
    sidecar.store.apply(Change {
        inbound: Some(policy),
        ..Change::default()
    });
    mesh.beside(sidecar.inbound, in_turn());
    sidecar
}

fn in_turn() -> TrafficPolicy {
    let mut policy = TrafficPolicy::default();
    policy.load_balancer.algorithm = Algorithm::RoundRobin;
    policy.ejection = None;
    policy
}

fn pay(mesh: &Mesh) -> Response<Bytes> {
    mesh.http1("http://account.bank/pay", "10 EUR")
}

#[test]
fn a_stream_above_the_last_one_is_sent_once_more_on_a_new_connection() {
    for error in [NO_ERROR, ENHANCE_YOUR_CALM] {
        let mesh = Mesh::start(in_turn());
        let application = Application::start(move |connection| match connection {
            0 => Act::Leave { last: 0, error },
            _ => Act::Answer,
        });
        let sidecar = beside(&mesh, &application);
        mesh.remove_endpoint();
        let response = pay(&mesh);
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
        assert_eq!(application.taken(), 1);
        let line = sidecar.logged("/pay");
        assert!(line.contains(r#""attempts":2"#), "{line}");
    }
}

#[test]
fn who_takes_no_stream_at_all_is_left_for_another_endpoint() {
    let mesh = Mesh::start(in_turn());
    mesh.answer(Answer::Echo);
    let error = NO_ERROR;
    let application = Application::start(move |_| Act::Leave { last: 0, error });
    let _sidecar = beside(&mesh, &application);
    for number in 1..=4 {
        let response = pay(&mesh);
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
        assert_eq!(mesh.seen().len(), number);
    }
    assert!(application.connections.load(Ordering::SeqCst) > 0);
    mesh.remove_endpoint();
    let response = pay(&mesh);
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["x-usher-reason"], "UF refused-unseen");
}

#[test]
fn what_was_said_before_a_connection_was_reset_is_heard() {
    let mesh = Mesh::start(in_turn());
    let application = Application::start(|_| Act::Drop);
    let _sidecar = beside(&mesh, &application);
    mesh.remove_endpoint();
    for _ in 0..20 {
        let response = pay(&mesh);
        assert_eq!(response.headers()["x-usher-reason"], "UF refused-unseen");
    }
    assert_eq!(application.taken(), 0);
}

#[test]
fn a_stream_up_to_the_last_one_is_never_sent_again() {
    let mesh = Mesh::start(in_turn());
    let (last, error) = (1, NO_ERROR);
    let application = Application::start(move |_| Act::Leave { last, error });
    let _sidecar = beside(&mesh, &application);
    mesh.remove_endpoint();
    let response = pay(&mesh);
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()["x-usher-reason"], "UR upstream-reset");
    assert_eq!(application.taken(), 1);
}

#[test]
fn what_is_under_way_when_the_end_is_announced_is_answered_and_nothing_new_goes_there() {
    let mesh = Mesh::start(in_turn());
    let application = Application::start(|_| Act::AnnounceAndAnswer);
    let _sidecar = beside(&mesh, &application);
    mesh.remove_endpoint();
    for _ in 0..3 {
        let response = pay(&mesh);
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
    }
    assert_eq!(application.taken(), 3);
    assert_eq!(application.connections.load(Ordering::SeqCst), 3);
}
