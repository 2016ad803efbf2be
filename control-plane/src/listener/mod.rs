//! Port 15012: TLS 1.3 connections from sidecars, each with the identity its handshake proved.
//!
//! A client certificate is optional, since a sidecar that joins has none yet; one that is shown must chain to
//! our root. Services decide by [`Peer`], which every request carries. Nothing here waits for a slow
//! peer: handshakes have a deadline and a bound, connections have a bound, and a connection ends when the
//! certificate that opened it does (a stream could otherwise outlive its right to exist).

pub mod tls;
mod stream;
mod told;
mod turns;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{
    io::Interest,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};
use usher_config::value::TrustDomain;

use crate::{
    ca::{Peer, svid::Claims},
    shares::{self, Asker, Full, Shares, lines},
    telemetry::metrics::{Handshake, ListenerMetrics},
};

use told::{Crowd, Greedy};
use turns::Turns;

pub use stream::MeshStream;

/// How long a handshake may take: two round trips and a signature, on a bad day.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at once. Each costs about a millisecond of CPU: 256 at once are over within a second, more would only make all of
/// them late. Connections on which nothing was said yet do not count: a few hundred silent peers would keep everybody out.
/// Neither do handshakes whose peers have needed two seconds: they are slow, or mean harm. One address has half of them; this
/// machine, which is not one asker, leaves an eighth.
const TURNS: turns::Bounds = turns::Bounds {
    all: 256,
    each: lines::Bounds {
        here: 224,
        each: 128,
    },
    held_max: Duration::from_secs(2),
};

/// How long a handshake may wait for its turn, as long as its sidecar does: those of 20,000 sidecars take 15 s on one core.
/// To hang up on one in line would only put it at the end of it, at the price of another connection.
const LINE_MAX: Duration = Duration::from_secs(15);

/// Connections at once: the 10,000 sidecars one control plane is made for, twice, as all may reconnect at once.
pub const CONNECTIONS_MAX: usize = 20_000;

/// What one address may have of the connections, as a divisor: half. Behind one there may be many sidecars (NAT, a load balancer
/// for connections), and whoever takes all that it may have still leaves as many to the others. Loopback has no share: it is
/// everybody on this machine.
const SHARE: usize = 2;

/// Connections without a certificate at once: whoever can reach the port may open them, and must not keep out those
/// who have one. A sidecar that joins needs its for milliseconds, and comes again with back-off. One address has half of them.
const STRANGERS_MAX: usize = 1_000;

/// How long a connection without a certificate lives: enough to attest, no more.
const ANONYMOUS_LIFETIME: Duration = Duration::from_secs(30);

/// Longest life of any connection, whatever its certificate says: an SVID's life.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long to wait when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sidecars that knock while we are busy with others: all of a large mesh, which come back at once.
const BACKLOG: u32 = 16_384;

/// A socket with room for all sidecars at once, as far as the kernel lets us (`net.core.somaxconn`): those beyond it would
/// be heard of a second later, when they knock again.
///
/// # Errors
/// The address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts sidecars' connections.
pub struct Listener {
    tcp: TcpListener,
    connections_max: usize,
    shaker: Arc<Shaker>,
}

/// What every handshake needs.
struct Shaker {
    tls: Arc<tls::MeshTls>,
    trust_domain: TrustDomain,
    metrics: Arc<ListenerMetrics>,
    turns: Turns,
    strangers: Shares,
    asker: fn(IpAddr) -> Asker,
    greedy: Greedy,
}

/// What holds for peers who have not proved anything yet.
#[derive(Clone, Copy)]
struct Rules {
    turns: turns::Bounds,
    /// Who comes from an address.
    asker: fn(IpAddr) -> Asker,
}

const RULES: Rules = Rules {
    turns: TURNS,
    asker: Asker::at,
};

/// Why a connection did not come to be; a normal event on a port that others can reach.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("no handshake within {HANDSHAKE_TIMEOUT:?}")]
    Timeout,
    #[error("no turn for a handshake within {LINE_MAX:?}")]
    Line,
    #[error("gave up waiting for its turn")]
    Left,
    #[error("handshake failed")]
    Tls(#[from] io::Error),
    #[error("the client certificate is not an identity of the trust domain {0}")]
    Identity(TrustDomain),
    #[error("{STRANGERS_MAX} connections without a certificate are open already")]
    Strangers,
    #[error(
        "half of all connections without a certificate that there may be are from this address already"
    )]
    StrangersShare,
}

impl Listener {
    /// A listener on `tcp`, with so many connections at once, that proves itself and verifies others by `tls`.
    pub fn new(
        tcp: (TcpListener, usize),
        tls: Arc<tls::MeshTls>,
        trust_domain: TrustDomain,
        metrics: Arc<ListenerMetrics>,
    ) -> Self {
        Self::with(RULES, tcp, tls, trust_domain, metrics)
    }

    fn with(
        rules: Rules,
        (tcp, connections_max): (TcpListener, usize),
        tls: Arc<tls::MeshTls>,
        trust_domain: TrustDomain,
        metrics: Arc<ListenerMetrics>,
    ) -> Self {
        let shaker = Shaker {
            tls,
            trust_domain,
            metrics,
            turns: Turns::new(rules.turns),
            strangers: Shares::new(shares::Bounds {
                all: STRANGERS_MAX,
                each: STRANGERS_MAX.div_ceil(SHARE),
                reserve: 0,
            }),
            asker: rules.asker,
            greedy: Greedy::default(),
        };
        Self {
            tcp,
            connections_max,
            shaker: Arc::new(shaker),
        }
    }

    /// The connections that completed their handshake; accepting ends when the stream is dropped.
    pub fn connections(self) -> ReceiverStream<io::Result<MeshStream>> {
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(self.accept(sender));
        ReceiverStream::new(receiver)
    }

    async fn accept(self, sender: mpsc::Sender<io::Result<MeshStream>>) {
        let most = self.connections_max;
        let connections = Arc::new(Semaphore::new(most));
        // Only the share of each: that all together are no more than there may be, `connections` sees to.
        let shares = Shares::new(shares::Bounds {
            all: usize::MAX,
            each: most.div_ceil(SHARE),
            reserve: 0,
        });
        let mut crowd = Crowd::default();
        // A permit first: what cannot be served stays in the kernel's queue, where it costs nothing.
        while let Ok(connection) = Arc::clone(&connections).acquire_owned().await {
            crowd.look(most - connections.available_permits(), most);
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    let Ok(share) = shares.take(&(self.shaker.asker)(from.ip())) else {
                        self.shaker.metrics.count(Handshake::Share);
                        self.shaker
                            .greedy
                            .has_its_share(from.ip(), most, "connections");
                        continue;
                    };
                    let (shaker, sender) = (Arc::clone(&self.shaker), sender.clone());
                    tokio::spawn(async move {
                        let result = shaker.shake(stream, (connection, share)).await;
                        if let Some(stream) = result {
                            // Fails only when the server stops.
                            let _ = sender.send(Ok(stream)).await;
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Shaker {
    async fn shake(&self, tcp: TcpStream, place: stream::Place) -> Option<MeshStream> {
        let peer_address = tcp.peer_addr().ok();
        match self.identify(tcp, place).await {
            Ok(stream) => {
                self.metrics.count(Handshake::Accepted);
                Some(stream)
            }
            Err(error) => {
                self.metrics.count(match &error {
                    HandshakeError::Timeout | HandshakeError::Line => Handshake::Timeout,
                    HandshakeError::Left => Handshake::Left,
                    HandshakeError::StrangersShare => Handshake::Share,
                    HandshakeError::Tls(_)
                    | HandshakeError::Identity(_)
                    | HandshakeError::Strangers => Handshake::Refused,
                });
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                debug!(?peer_address, %error, cause, "connection refused");
                None
            }
        }
    }

    async fn identify(
        &self,
        tcp: TcpStream,
        place: stream::Place,
    ) -> Result<MeshStream, HandshakeError> {
        tcp.set_nodelay(true)?;
        let address = tcp.peer_addr().ok();
        let address = address.map(|address| address.ip().to_canonical());
        // Not `readable`, which may be true without a byte to read.
        timeout(HANDSHAKE_TIMEOUT, tcp.peek(&mut [0]))
            .await
            .map_err(|_| HandshakeError::Timeout)??;
        let waits = self.metrics.waits();
        let asker = address.map(self.asker);
        let turn = timeout(LINE_MAX, self.turns.wait(asker.clone()))
            .await
            .map_err(|_| HandshakeError::Line)?;
        drop(waits);
        // A handshake would be wasted on it, and whoever stands behind it in a storm would be late as well.
        if has_hung_up(&tcp).await {
            return Err(HandshakeError::Left);
        }
        let acceptor = TlsAcceptor::from(self.tls.config());
        let handshake = turn.take(acceptor.accept(tcp));
        let stream = timeout(HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_| HandshakeError::Timeout)??;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let root = self.tls.root_of(chain);
        if root.is_none() && !chain.is_empty() {
            // It went while hands were shaken.
            return Err(HandshakeError::Identity(self.trust_domain.clone()));
        }
        let (identity, lifetime, stranger) = match chain.first() {
            None => {
                let place = self.strange(address.zip(asker))?;
                (None, ANONYMOUS_LIFETIME, Some(place))
            }
            Some(certificate) => {
                let foreign = || HandshakeError::Identity(self.trust_domain.clone());
                let claims = Claims::of_verified(certificate).map_err(|_| foreign())?;
                if claims.id.trust_domain != self.trust_domain {
                    return Err(foreign());
                }
                let left = claims.not_after - OffsetDateTime::now_utc();
                (
                    Some(claims.id),
                    Duration::try_from(left)
                        .unwrap_or_default()
                        .min(LIFETIME_MAX),
                    None,
                )
            }
        };
        let open = self.metrics.connection_opened();
        let ends = Instant::now() + lifetime;
        let gone = root.clone().map(|root| self.tls.gone(root));
        let end = async move {
            let gone = async move {
                match gone {
                    Some(gone) => gone.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { () = sleep_until(ends) => {}, () = gone => {} }
        };
        Ok(MeshStream::new(
            stream,
            Peer {
                identity,
                address,
                root,
            },
            Box::pin(end),
            (place, stranger, open),
        ))
    }

    /// A place for one without a certificate.
    fn strange(&self, from: Option<(IpAddr, Asker)>) -> Result<shares::Place, HandshakeError> {
        let Some((address, asker)) = from else {
            return Err(HandshakeError::Left);
        };
        self.strangers.take(&asker).map_err(|full| match full {
            Full::All => HandshakeError::Strangers,
            Full::Share => {
                let what = "connections without a certificate";
                self.greedy.has_its_share(address, STRANGERS_MAX, what);
                HandshakeError::StrangersShare
            }
        })
    }
}

/// Whether the peer has closed a connection on which it has said something.
async fn has_hung_up(tcp: &TcpStream) -> bool {
    // At once: there is something to read.
    let ready = tcp.ready(Interest::READABLE).await;
    ready.is_ok_and(|ready| ready.is_read_closed())
}

#[cfg(test)]
mod tests;
