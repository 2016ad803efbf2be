//! The shell: datagrams and connections in, answers out, everything bounded.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::op::{Message, ResponseCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{
    shares::{Asker, Bounds, Place, Shares},
    state::{Lookup, State},
    telemetry::metrics::{DnsMetrics, DnsOutcome},
};

use super::{
    Answer, Asked, Forwarder, Malformed, Request, Resolvers, Source, answer,
    forward::{Unforwarded, is_near, relayed},
    message::PLAIN_MAX,
    read, reverse,
    view::view,
    write,
};

/// Longest question taken over UDP; real ones have a tenth of it.
const QUESTION_MAX: usize = 4096;

/// Connections at once. Few come over TCP: what did not fit a datagram. Who wants several answers at once has several
/// connections, and each may be silent for [`IDLE`]: so there is a share for each, as of [`FORWARDED`].
///
/// [`FORWARDED`]: super::forward::FORWARDED
pub(super) const CONNECTIONS: Bounds = Bounds {
    all: 256,
    each: 8,
    reserve: 64,
};

/// How long a connection may be silent, or take to say a question or take an answer (RFC 7766 §6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);

/// Questions that wait for others' answers at once; most for the same few. One machine has no more that wait than it may
/// have under way.
const WAITING: Bounds = Bounds {
    all: 1024,
    each: 64,
    reserve: 256,
};

/// How long to wait when the system has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// How often two free ports of one number are looked for.
const BIND_ATTEMPTS: usize = 16;

/// A bound DNS server that does not answer yet.
#[derive(Debug)]
pub struct Dns {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
    forwarder: Arc<Forwarder>,
}

/// What a question is answered from.
pub(super) struct Zone {
    mesh: Lookup,
    forwarder: Arc<Forwarder>,
    metrics: Arc<DnsMetrics>,
    waiting: Shares,
    connections: Shares,
    turn: AtomicUsize,
}

/// What becomes of a message.
pub(super) enum Next {
    /// It is left alone.
    Nothing,
    /// At most so many bytes of it over UDP.
    Say(Box<Message>, u16),
    /// Others are asked, for this asker.
    Ask(Box<Request>, Asker, Place),
}

impl Dns {
    /// Takes the address over UDP and TCP; port 0: one that is free on both.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn bind(address: SocketAddr, source: &Source) -> io::Result<Self> {
        let mut attempts = 0;
        let (udp, tcp) = loop {
            attempts += 1;
            let udp = UdpSocket::bind(address).await?;
            match TcpListener::bind(udp.local_addr()?).await {
                Ok(tcp) => break (udp, tcp),
                Err(_) if address.port() == 0 && attempts < BIND_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        };
        let address = udp.local_addr()?;
        let forwarder = Arc::new(Forwarder::new(Resolvers::new(source, address)));
        Ok(Self {
            udp,
            tcp,
            address,
            forwarder,
        })
    }

    /// Where it will answer.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is told to stop.
    pub async fn serve(
        self,
        state: State,
        metrics: Arc<DnsMetrics>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let zone = Arc::new(Zone::new(state, Arc::clone(&self.forwarder), metrics));
        let answering = async {
            tokio::join!(
                self.forwarder.resolvers().follow(),
                serve_datagrams(Arc::new(self.udp), &zone),
                serve_connections(self.tcp, &zone)
            );
        };
        tokio::select! {
            () = answering => {}
            // An error means that the sender is gone: the server is, too.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

async fn serve_datagrams(socket: Arc<UdpSocket>, zone: &Arc<Zone>) {
    let mut buffer = vec![0; QUESTION_MAX];
    let mut asked = JoinSet::new();
    loop {
        while asked.try_join_next().is_some() {}
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                warn!(%error, "question not received");
                sleep(PAUSE).await;
                continue;
            }
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        match zone.next(bytes, from.ip()) {
            Next::Nothing => {}
            Next::Say(message, most) => {
                send(&socket, from, &message, most).await;
            }
            Next::Ask(request, asker, waiting) => {
                let (zone, socket) = (Arc::clone(zone), Arc::clone(&socket));
                asked.spawn(async move {
                    let message = zone.forwarded(&request, false, &asker).await;
                    send(&socket, from, &message, request.datagram_max()).await;
                    drop(waiting);
                });
            }
        }
    }
}

/// What does not arrive is asked again.
async fn send(socket: &UdpSocket, to: SocketAddr, message: &Message, most: u16) {
    if let Some(bytes) = write(message, most) {
        let _ = socket.send_to(&bytes, to).await;
    }
}

async fn serve_connections(listener: TcpListener, zone: &Arc<Zone>) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                // Closed at once: in the kernel's queue it would keep others waiting who have their share left.
                let Some(place) = zone.admit(from.ip()) else {
                    continue;
                };
                let zone = Arc::clone(zone);
                open.spawn(async move {
                    // Its end is normal, whatever it is.
                    let _ = serve_connection(stream, from.ip(), &zone).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "connection not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// One question after the other (RFC 7766): who wants them answered at once opens several connections.
async fn serve_connection(mut stream: TcpStream, from: IpAddr, zone: &Zone) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let question = timeout(IDLE, receive(&mut stream)).await??;
        let message = match zone.next(&question, from) {
            Next::Nothing => return Ok(()),
            Next::Say(message, _) => *message,
            Next::Ask(request, asker, _waiting) => zone.forwarded(&request, true, &asker).await,
        };
        let Some(bytes) = write(&message, u16::MAX) else {
            return Ok(());
        };
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut question = vec![0; usize::from(length)];
    stream.read_exact(&mut question).await?;
    Ok(question)
}

fn say(request: &Request, code: ResponseCode) -> Next {
    Next::Say(Box::new(request.response(code)), request.datagram_max())
}

impl Zone {
    pub(super) fn new(state: State, forwarder: Arc<Forwarder>, metrics: Arc<DnsMetrics>) -> Self {
        Self {
            mesh: Lookup::new(state),
            forwarder,
            metrics,
            waiting: Shares::new(WAITING),
            connections: Shares::new(CONNECTIONS),
            turn: AtomicUsize::new(0),
        }
    }

    /// A place for a connection; `None`: it is closed. Strangers would only be refused, and take others' places.
    pub(super) fn admit(&self, from: IpAddr) -> Option<Place> {
        if !is_near(from) {
            self.metrics.count(DnsOutcome::Refused);
            return None;
        }
        let place = self.connections.take(&Asker::at(from)).ok();
        if place.is_none() {
            self.metrics.count(DnsOutcome::Overloaded);
        }
        place
    }

    /// What becomes of a message from there.
    pub(super) fn next(&self, bytes: &[u8], from: IpAddr) -> Next {
        let request = match read(bytes) {
            Ok(request) => request,
            Err(Malformed::Unanswered) => {
                self.metrics.count(DnsOutcome::Malformed);
                return Next::Nothing;
            }
            Err(Malformed::Answered(message)) => {
                self.metrics.count(match message.metadata.response_code {
                    ResponseCode::Refused => DnsOutcome::Refused,
                    _ => DnsOutcome::Malformed,
                });
                return Next::Say(message, PLAIN_MAX);
            }
        };
        // Anybody can put another's address on a datagram, and instances' addresses are nobody's outside: a refusal is no
        // longer than its question.
        if !is_near(from) {
            self.metrics.count(DnsOutcome::Refused);
            return say(&request, ResponseCode::Refused);
        }
        let asked = Asked::of(request.query.name());
        if asked == Asked::Elsewhere {
            return self.elsewhere(request, from);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let view = view(&self.mesh, &asked, turn);
        let query = &request.query;
        if !reverse::is_ours(query.name(), query.query_type(), &asked, &view) {
            return self.elsewhere(request, from);
        }
        let said = answer(query.name(), query.query_type(), &asked, &view);
        self.metrics.count(match said {
            Answer { exists: false, .. } => DnsOutcome::NoName,
            Answer { ref answers, .. } if answers.is_empty() => DnsOutcome::NoData,
            Answer { .. } => DnsOutcome::Answered,
        });
        Next::Say(
            Box::new(self.message(&request, said)),
            request.datagram_max(),
        )
    }

    fn elsewhere(&self, request: Request, from: IpAddr) -> Next {
        if self.forwarder.resolvers().now().is_empty() {
            self.metrics.count(DnsOutcome::Refused);
            return say(&request, ResponseCode::Refused);
        }
        let asker = Asker::at(from);
        match self.waiting.take(&asker) {
            Ok(waiting) => Next::Ask(Box::new(request), asker, waiting),
            Err(_) => {
                self.metrics.count(DnsOutcome::Overloaded);
                say(&request, ResponseCode::ServFail)
            }
        }
    }

    fn message(&self, request: &Request, said: Answer) -> Message {
        let code = if said.exists {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        };
        let mut message = request.response(code);
        message.metadata.authoritative = true;
        message.metadata.recursion_available = !self.forwarder.resolvers().now().is_empty();
        message.answers = said.answers;
        message.authorities = said.authorities;
        message.additionals = said.additionals;
        message
    }

    async fn forwarded(&self, request: &Request, whole: bool, asker: &Asker) -> Message {
        let answer = self.forwarder.ask(request, whole, asker).await;
        let (outcome, code) = match answer {
            Ok(theirs) => {
                self.metrics.count(DnsOutcome::Forwarded);
                return relayed(request, &theirs);
            }
            Err(Unforwarded::Nobody) => (DnsOutcome::Refused, ResponseCode::Refused),
            Err(Unforwarded::Busy) => (DnsOutcome::Overloaded, ResponseCode::ServFail),
            Err(Unforwarded::Silence) => (DnsOutcome::Unanswered, ResponseCode::ServFail),
        };
        self.metrics.count(outcome);
        request.response(code)
    }
}
