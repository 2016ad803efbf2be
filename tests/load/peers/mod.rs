//! Who is compared, and in which arrangement: every peer of a run gets the same applications and the same jobs.

pub(crate) mod addresses;
mod certificates;
mod envoy;
mod haproxy;
mod nginx;
mod programs;
mod usher;

use std::{any::Any, fmt, net::SocketAddr, path::Path};

use anyhow::{Result, bail};
use usher_tests::{Process, eventually};

pub(crate) use self::programs::{Binaries, Program};
pub(crate) use self::usher::one_worker;
use crate::{comparison::Comparison, process, protocol::Protocol, tls::Caller, upstream::Upstream};

/// Which proxies stand between load and upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One, plaintext on both sides.
    Plain,
    /// Two with mutual TLS between them.
    Pair,
    /// The second of a pair alone: its callers speak mutual TLS.
    Inbound,
}

/// An arrangement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topology {
    pub(crate) shape: Shape,
    /// What applications speak.
    pub(crate) protocol: Protocol,
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match self.shape {
            Shape::Plain => "one plaintext hop",
            Shape::Pair => "mTLS pair",
            Shape::Inbound => "inbound proxy, mTLS",
        };
        write!(f, "{shape}, {}", self.protocol.name())
    }
}

/// What one proxy process is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Plaintext in, TLS out.
    Outbound,
    /// TLS in, plaintext out.
    Inbound,
    /// Plaintext in and out, beside the application: an inbound proxy while TLS is still off.
    Hop,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Hop => "hop",
        }
    }
}

/// One proxy process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) side: Side,
    pub(crate) listen: SocketAddr,
    pub(crate) next: SocketAddr,
}

impl Shape {
    /// The one that is called comes first.
    fn steps(self, upstream: SocketAddr) -> Vec<Step> {
        let step = |side, next| Step {
            side,
            listen: addresses::free(),
            next,
        };
        match self {
            Self::Plain => vec![step(Side::Hop, upstream)],
            Self::Inbound => vec![step(Side::Inbound, upstream)],
            Self::Pair => {
                let inbound = step(Side::Inbound, upstream);
                vec![step(Side::Outbound, inbound.listen), inbound]
            }
        }
    }
}

/// What a peer's configuration is made from, beside its steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// For configuration, certificates and logs.
    pub(crate) folder: &'a Path,
    pub(crate) protocol: Protocol,
    /// Takes traces, over HTTP/1.1.
    pub(crate) collector: SocketAddr,
    /// Services that a peer is told about; the first one is called.
    pub(crate) services: usize,
}

/// Proxies that are ready for load; stopped when dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// `ip:port` that load calls.
    pub(crate) entry: String,
    /// Its processes, those of the proxy that is called first; none when nothing is between.
    pub(crate) pids: Vec<u32>,
    /// How many of them belong to the proxy that is called.
    called: usize,
    /// What a caller has to show, where callers speak TLS.
    pub(crate) caller: Option<Caller>,
    _running: Box<dyn Any>,
}

impl Peer {
    /// The processes of the proxy that load calls.
    pub(crate) fn called_pids(&self) -> &[u32] {
        self.pids.get(..self.called).unwrap_or_default()
    }
}

/// The peers of one comparison.
pub(crate) struct Field {
    pub(crate) peers: Vec<Peer>,
    left_out: Vec<(&'static str, String)>,
}

/// The reference: no proxy at all.
pub(crate) const DIRECT: &str = "direct";

impl Field {
    /// Usher, every peer whose program is there and speaks the protocol, and the direct path; ours comes first.
    pub(crate) async fn start(
        binaries: &Binaries,
        topology: Topology,
        upstream: &Upstream,
    ) -> Result<Self> {
        let mut field = Self::ours(topology, upstream).await?;
        for program in Program::ALL {
            match binaries.find(program, topology.protocol)? {
                Ok(binary) => {
                    eprintln!("starting {}: {topology}", program.name());
                    let services = 1;
                    let started = start(program, &binary, topology, upstream, services);
                    field.peers.push(started.await?);
                }
                Err(why) => field.left_out.push((program.name(), why)),
            }
        }
        if topology.shape != Shape::Inbound {
            field.peers.push(Peer {
                name: DIRECT,
                entry: format!("127.0.0.1:{}", upstream.port),
                pids: Vec::new(),
                called: 0,
                caller: None,
                _running: Box::new(()),
            });
        }
        field.pin()?;
        Ok(field)
    }

    /// Usher alone.
    pub(crate) async fn ours(topology: Topology, upstream: &Upstream) -> Result<Self> {
        eprintln!("starting usher: {topology}");
        let field = Self {
            peers: vec![usher::start(topology, upstream).await?],
            left_out: Vec::new(),
        };
        field.pin()?;
        Ok(field)
    }

    /// All proxies share a core, so that whoever needs less of it answers more; load and upstream have the other.
    fn pin(&self) -> Result<()> {
        let mut pids = self.peers.iter().flat_map(|peer| &peer.pids);
        pids.try_for_each(|pid| process::pin(*pid, 1))
    }

    /// Ours first, the direct path last.
    pub(crate) fn all(&self) -> Vec<&Peer> {
        self.peers.iter().collect()
    }

    /// Says who is not here.
    pub(crate) fn note_left_out(&self, comparison: &mut Comparison) {
        for (peer, why) in &self.left_out {
            comparison.leave_out(peer, why);
        }
    }
}

/// Starts the processes of a peer, and waits until they listen.
pub(crate) async fn start(
    program: Program,
    binary: &Path,
    topology: Topology,
    upstream: &Upstream,
    services: usize,
) -> Result<Peer> {
    let folder = tempfile::tempdir()?;
    certificates::write(folder.path())?;
    let setting = Setting {
        folder: folder.path(),
        protocol: topology.protocol,
        collector: SocketAddr::from(([127, 0, 0, 1], upstream.collector)),
        services,
    };
    let application = SocketAddr::from(([127, 0, 0, 1], upstream.port));
    let steps = topology.shape.steps(application);
    let (mut running, mut pids, mut called) = (Vec::new(), Vec::new(), 0);
    for step in &steps {
        let command = program.command(binary, &setting, step)?;
        let log = folder.path().join(format!("{}.log", step.side.name()));
        let mut process = Process::start(command, log);
        listens(program.name(), &mut process, step.listen).await?;
        pids.extend(process::with_children(process.pid())?);
        if running.is_empty() {
            called = pids.len();
        }
        running.push(process);
    }
    let entry = steps.first().map(|step| step.listen.to_string());
    Ok(Peer {
        name: program.name(),
        entry: entry.unwrap_or_default(),
        pids,
        called,
        caller: (topology.shape == Shape::Inbound)
            .then(|| Caller::of_a_peer(folder.path()))
            .transpose()?,
        _running: Box::new((running, folder)),
    })
}

async fn listens(name: &str, process: &mut Process, address: SocketAddr) -> Result<()> {
    let what = format!("{name} listens on {address}");
    let listening = eventually(&what, async || {
        if process.ended().is_some() {
            return Some(false);
        }
        let connected = tokio::net::TcpStream::connect(address).await;
        connected.is_ok().then_some(true)
    });
    if !listening.await {
        bail!("{name} ended: {}", process.printed());
    }
    Ok(())
}
