//! Names that are not of the mesh, asked of the machine's resolvers.
//!
//! Nobody can answer for them unless asked by us: every question goes out from a socket of its own, on a port that the
//! system chose, with an id from the system's random numbers, and only an answer from whom it went to, with that id
//! and that question, is taken (RFC 5452). One question is under way once: who asks the same waits for its answer. So
//! nobody can have many guesses at one answer, and a resolver that asks us in turn waits for itself and gives up,
//! instead of going round for ever. Nothing is kept: the machine's resolvers have caches.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::rand;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::watch,
    time::timeout,
};

use crate::shares::{Asker, Bounds, Shares};

use super::{
    Request, Resolvers,
    message::{DATAGRAM_MAX, own_edns, write},
};

/// Questions under way at once, each with a socket: a thousand file descriptors are what a process has. Each may be held
/// up for 4 s, so nobody has all: one machine has enough for a page in a browser, which asks fifty. Those on this machine
/// cannot be told apart, and it is theirs; they leave a quarter to the network, and the network as much to them.
pub(super) const FORWARDED: Bounds = Bounds {
    all: 256,
    each: 64,
    reserve: 64,
};

/// Until the next resolver is asked. The C library asks us again after 5 s: two are asked before that.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often somebody is asked about one name; a lone resolver twice, since UDP loses packets.
const ATTEMPTS: usize = 2;

/// Packets that answer something else, until the socket is given up: one late answer is normal, hundreds are guesses.
const STRAY_MAX: usize = 16;

/// What makes two questions one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    query: Query,
    recursion: bool,
    unchecked: bool,
    signatures: bool,
    whole: bool,
}

/// `None` inside: there is no answer.
type Answered = Option<Option<Arc<Message>>>;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unforwarded {
    /// There is nobody to ask.
    Nobody,
    /// The asker has its share of [`FORWARDED`] under way, or others have all.
    Busy,
    /// Nobody answered in time.
    Silence,
}

/// Asks others.
#[derive(Debug)]
pub struct Forwarder {
    resolvers: Resolvers,
    room: Shares,
    under_way: Mutex<HashMap<Key, watch::Receiver<Answered>>>,
}

impl Forwarder {
    /// Asks these.
    pub fn new(resolvers: Resolvers) -> Self {
        Self {
            resolvers,
            room: Shares::new(FORWARDED),
            under_way: Mutex::default(),
        }
    }

    /// Whom it asks.
    pub fn resolvers(&self) -> &Resolvers {
        &self.resolvers
    }

    /// What they say. `whole`: the asker came over TCP, so the answer may be long. Of several who ask the same, it is under
    /// way for the first.
    ///
    /// # Errors
    /// [`Unforwarded`].
    pub async fn ask(
        self: &Arc<Self>,
        request: &Request,
        whole: bool,
        asker: &Asker,
    ) -> Result<Arc<Message>, Unforwarded> {
        let resolvers = self.resolvers.now();
        if resolvers.is_empty() {
            return Err(Unforwarded::Nobody);
        }
        let key = Key {
            query: request.query.clone(),
            recursion: request.header.recursion_desired,
            unchecked: request.header.checking_disabled,
            signatures: request.wants_signatures(),
            whole,
        };
        let mut answered = self.started(key, resolvers, asker)?;
        let answer = answered.wait_for(Option::is_some).await;
        // An error: the task that asks was ended with the server.
        let answer = answer.ok().and_then(|answer| answer.clone().flatten());
        answer.ok_or(Unforwarded::Silence)
    }

    /// The question, under way.
    fn started(
        self: &Arc<Self>,
        key: Key,
        resolvers: Arc<Vec<SocketAddr>>,
        asker: &Asker,
    ) -> Result<watch::Receiver<Answered>, Unforwarded> {
        let mut under_way = self.under_way();
        if let Some(answered) = under_way.get(&key) {
            return Ok(answered.clone());
        }
        let place = self.room.take(asker).map_err(|_| Unforwarded::Busy)?;
        let (sender, answered) = watch::channel(None);
        under_way.insert(key.clone(), answered.clone());
        drop(under_way);
        let forwarder = Arc::clone(self);
        tokio::spawn(async move {
            let answer = ask_in_turn(&key, &resolvers).await;
            forwarder.under_way().remove(&key);
            sender.send_replace(Some(answer.map(Arc::new)));
            drop(place);
        });
        Ok(answered)
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashMap<Key, watch::Receiver<Answered>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether who asks from there is answered: not the world, for whom a server of names is a way to send others more than
/// they could themselves (RFC 5358), and to read where everything is.
pub(super) fn is_near(asker: IpAddr) -> bool {
    match asker.to_canonical() {
        IpAddr::V4(at) => {
            let [first, second, ..] = at.octets();
            // 100.64.0.0/10: what providers and overlay networks give out.
            let is_shared = first == 100 && second & 0xc0 == 64;
            at.is_loopback() || at.is_private() || at.is_link_local() || is_shared
        }
        IpAddr::V6(at) => at.is_loopback() || at.is_unique_local() || at.is_unicast_link_local(),
    }
}

async fn ask_in_turn(key: &Key, resolvers: &[SocketAddr]) -> Option<Message> {
    let mut last = None;
    for resolver in resolvers.iter().cycle().take(ATTEMPTS) {
        let asked = async {
            if key.whole {
                ask_whole(key, *resolver).await
            } else {
                ask_datagram(key, *resolver).await
            }
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => {
                // Its own trouble; another may know.
                let failed = [ResponseCode::ServFail, ResponseCode::Refused];
                if !failed.contains(&answer.metadata.response_code) {
                    return Some(answer);
                }
                last = Some(answer);
            }
            Ok(Err(error)) => tracing::debug!(%resolver, %error, "resolver not reached"),
            Err(_) => tracing::debug!(%resolver, "resolver did not answer in time"),
        }
    }
    last
}

async fn ask_datagram(key: &Key, resolver: SocketAddr) -> io::Result<Message> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // The kernel drops what others send.
    socket.connect(resolver).await?;
    let (question, id) = question(key)?;
    socket.send(&question).await?;
    let mut buffer = [0; DATAGRAM_MAX as usize];
    for _ in 0..STRAY_MAX {
        let length = socket.recv(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = matching(bytes, key, id) {
            return Ok(answer);
        }
    }
    Err(io::Error::other("answers to something else"))
}

async fn ask_whole(key: &Key, resolver: SocketAddr) -> io::Result<Message> {
    let mut stream = TcpStream::connect(resolver).await?;
    let (question, id) = question(key)?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], &question].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    matching(&bytes, key, id).ok_or_else(|| io::Error::other("an answer to something else"))
}

fn question(key: &Key) -> io::Result<(Vec<u8>, u16)> {
    let mut id = [0; 2];
    rand::fill(&mut id).map_err(io::Error::other)?;
    let id = u16::from_be_bytes(id);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = key.recursion;
    message.metadata.checking_disabled = key.unchecked;
    message.add_query(key.query.clone());
    message.set_edns(own_edns(key.signatures));
    let bytes = write(&message, u16::MAX);
    let bytes = bytes.ok_or_else(|| io::Error::other("a name that cannot be written"))?;
    Ok((bytes, id))
}

/// The answer, if it is one to this question.
fn matching(bytes: &[u8], key: &Key, id: u16) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let header = &message.metadata;
    let is_ours = header.id == id
        && header.message_type == MessageType::Response
        && header.op_code == OpCode::Query
        && message.queries == [key.query.clone()];
    is_ours.then_some(message)
}

/// A resolver's answer, as ours to `request`: their EDNS was between them and us, and that they verified signatures
/// (AD) is not known to whom we answer over a network that anybody may write on.
pub(super) fn relayed(request: &Request, theirs: &Message) -> Message {
    let mut message = request.response(theirs.metadata.response_code);
    message.metadata.recursion_available = true;
    message.metadata.truncation = theirs.metadata.truncation;
    message.answers.clone_from(&theirs.answers);
    message.authorities.clone_from(&theirs.authorities);
    message.additionals.clone_from(&theirs.additionals);
    message
}
