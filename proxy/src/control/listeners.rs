//! Binds everything at once, before anything else is done: a port that is taken is known at start, and connections
//! that come early wait in the backlog.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::errno::Errno;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use usher_config::model::ServiceTarget;

use super::exit::Exit;
use crate::{
    accept::Purpose,
    bootstrap::{Bootstrap, Transparent},
    state_dir::StateDir,
};

const FILE: &str = "addresses.json";

/// What a busy host's burst of connections needs to wait; the kernel cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// How often a port that both families have is looked for.
const PORTS_TRIED: u32 = 8;

/// Bound and listening, non-blocking.
#[derive(Debug)]
pub(super) struct Listeners {
    /// From other sidecars; `None`: the workload only calls.
    pub inbound: Option<TcpListener>,
    /// From the application; `None`: this is a gateway, and there is none.
    pub outbound: Option<TcpListener>,
    /// From the application, opaque bytes, each for one port of one service.
    pub tcp: Vec<(TcpListener, ServiceTarget)>,
    /// The first two once more for IPv6, if the kernel hands connections over: it redirects within a family.
    pub ipv6: Vec<(TcpListener, Purpose)>,
    /// All ports above and below, in that case: what is on its way to them must not be carried.
    pub own_ports: Option<Arc<[u16]>>,
}

/// Where the control thread itself listens.
#[derive(Debug)]
pub(super) struct Doors {
    metrics: TcpListener,
    socket: UnixListener,
    socket_path: PathBuf,
}

impl Doors {
    /// Hands them to the runtime.
    ///
    /// # Errors
    /// When it cannot watch them.
    pub(super) fn open(self) -> io::Result<(tokio::net::TcpListener, tokio::net::UnixListener)> {
        let metrics = tokio::net::TcpListener::from_std(self.metrics)?;
        Ok((metrics, tokio::net::UnixListener::from_std(self.socket)?))
    }
}

/// `addresses.json`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Addresses {
    inbound: Option<SocketAddr>,
    outbound: Option<SocketAddr>,
    metrics: SocketAddr,
    admin: PathBuf,
    tcp: Vec<SocketAddr>,
    /// By the Gateway's own port; sidecars have none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) gateway: BTreeMap<u16, SocketAddr>,
}

impl Addresses {
    /// Tells others where we are: whoever sees the file can connect.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(super) fn publish(&self, directory: &StateDir) -> io::Result<()> {
        directory.write(FILE, &serde_json::to_vec(self)?)
    }
}

impl Listeners {
    /// # Errors
    /// [`Exit::System`], naming the address and its setting.
    pub(super) fn bind(bootstrap: &Bootstrap) -> Result<(Self, Doors), Exit> {
        let tcp = bootstrap
            .tcp
            .iter()
            .map(|forward| Ok((bind("tcp", forward.local)?, forward.target.clone())));
        let inbound = Options {
            transparent: bootstrap.transparent == Some(Transparent::Tproxy),
            ..Options::default()
        };
        let mut listeners = Self {
            inbound: bootstrap
                .application_port
                .map(|_| bind_as(inbound, "inbound", bootstrap.inbound))
                .transpose()?,
            outbound: match bootstrap.gateway {
                None => Some(bind("outbound", bootstrap.outbound)?),
                Some(_) => None,
            },
            tcp: tcp.collect::<Result<_, Exit>>()?,
            ipv6: Vec::new(),
            own_ports: None,
        };
        let doors = Doors {
            metrics: bind("metrics", bootstrap.metrics)?,
            socket: bind_admin(&bootstrap.admin_socket)?,
            socket_path: bootstrap.admin_socket.clone(),
        };
        if bootstrap.transparent.is_some() {
            listeners.ipv6 = listeners.both_families(bootstrap, inbound)?;
            let ports = listeners
                .ports(&doors)
                .map_err(Exit::system("find out our ports"));
            listeners.own_ports = Some(ports?);
        }
        Ok((listeners, doors))
    }

    /// As [`Listeners::also_ipv6`]. A port of the system's choice may be free in one family only: then another one is.
    fn both_families(
        &mut self,
        bootstrap: &Bootstrap,
        options: Options,
    ) -> Result<Vec<(TcpListener, Purpose)>, Exit> {
        let inbound = bootstrap.intercepts_inbound().then_some(options);
        for _ in 1..PORTS_TRIED {
            match self.also_ipv6(inbound) {
                Err(_) if bootstrap.outbound.port() == 0 => {
                    self.outbound = Some(bind("outbound", bootstrap.outbound)?);
                }
                settled => return settled,
            }
        }
        self.also_ipv6(inbound)
    }

    /// The IPv6 counterparts of listeners for IPv4, on their ports; none where the kernel has no IPv6. `inbound`: only
    /// if the kernel hands over what comes from outside.
    fn also_ipv6(&self, inbound: Option<Options>) -> Result<Vec<(TcpListener, Purpose)>, Exit> {
        let inbound = inbound.zip(self.inbound.as_ref()).into_iter();
        let inbound =
            inbound.map(|(options, listener)| (options, "inbound", listener, Purpose::Inbound));
        let usual = Options::default();
        let outbound = self.outbound.iter();
        let outbound = outbound.map(|listener| (usual, "outbound", listener, Purpose::Outbound));
        let mut also = Vec::new();
        for (options, setting, listener, purpose) in inbound.chain(outbound) {
            let local = listener.local_addr();
            let local = local.map_err(Exit::system("find out our addresses"))?;
            let ip = match local.ip() {
                IpAddr::V4(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST,
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv6Addr::UNSPECIFIED,
                IpAddr::V4(_) | IpAddr::V6(_) => continue,
            };
            let address = SocketAddr::from((ip, local.port()));
            let options = Options {
                only_ipv6: true,
                ..options
            };
            match listen(options, address) {
                Ok(listener) => also.push((listener, purpose)),
                Err(error) if has_no_ipv6(&error) => {}
                Err(error) => return Err(cannot_listen(setting, address, options)(error)),
            }
        }
        Ok(also)
    }

    fn ports(&self, doors: &Doors) -> io::Result<Arc<[u16]>> {
        let tcp = self.tcp.iter().map(|(listener, _)| listener);
        let all = [&doors.metrics].into_iter().chain(&self.outbound);
        let all = all.chain(&self.inbound).chain(tcp);
        all.map(|listener| Ok(listener.local_addr()?.port()))
            .collect()
    }

    /// Where other sidecars reach us; `None`: the workload only calls.
    ///
    /// # Errors
    /// [`Exit::System`].
    pub(super) fn inbound_address(&self) -> Result<Option<SocketAddr>, Exit> {
        let inbound = self.inbound.as_ref().map(TcpListener::local_addr);
        let inbound = inbound.transpose();
        inbound.map_err(Exit::system("find out the inbound address"))
    }

    /// Where we are.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(super) fn addresses(&self, doors: &Doors) -> io::Result<Addresses> {
        let local = |(listener, _): &(TcpListener, ServiceTarget)| listener.local_addr();
        let one = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose()
        };
        Ok(Addresses {
            inbound: one(&self.inbound)?,
            outbound: one(&self.outbound)?,
            metrics: doors.metrics.local_addr()?,
            admin: doors.socket_path.clone(),
            tcp: self.tcp.iter().map(local).collect::<io::Result<_>>()?,
            gateway: BTreeMap::new(),
        })
    }

    /// Takes back what an earlier run has published.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(super) fn unpublish(directory: &StateDir) -> io::Result<()> {
        directory.remove(FILE)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Options {
    /// It answers for any address (`IP_TRANSPARENT`, ip(7)).
    transparent: bool,
    /// IPv4 has a listener of its own.
    only_ipv6: bool,
}

fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Exit> {
    bind_as(Options::default(), setting, address)
}

fn bind_as(options: Options, setting: &str, address: SocketAddr) -> Result<TcpListener, Exit> {
    listen(options, address).map_err(cannot_listen(setting, address, options))
}

fn cannot_listen(
    setting: &str,
    address: SocketAddr,
    options: Options,
) -> impl FnOnce(io::Error) -> Exit + use<> {
    let hint = if options.transparent {
        "; --transparent tproxy needs CAP_NET_ADMIN, redirect does not"
    } else {
        ""
    };
    Exit::system(format!("listen on {address} (--{setting}{hint})"))
}

/// A listener of a gateway's.
///
/// # Errors
/// Whatever the operating system says.
pub(super) fn listen_plainly(address: SocketAddr) -> io::Result<TcpListener> {
    listen(Options::default(), address)
}

fn listen(options: Options, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the connections of the run before it to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if options.only_ipv6 {
        socket.set_only_v6(true)?;
    }
    if options.transparent {
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
    )
}

/// Bound under another name, closed to others, and only then given its own: nobody can connect in between.
fn bind_admin(path: &Path) -> Result<UnixListener, Exit> {
    let listen = || -> io::Result<UnixListener> {
        let temporary = path.with_extension("new");
        for old in [&temporary, path] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let listener = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        fs::rename(&temporary, path)?;
        Ok(listener)
    };
    listen().map_err(Exit::system(format!("listen on {}", path.display())))
}
