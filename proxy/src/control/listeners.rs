//! Binds everything at once, before anything else is done: a port that is taken is known at start, and connections
//! that come early wait in the backlog.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};

use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use usher_config::model::ServiceTarget;

use super::exit::Exit;
use crate::{bootstrap::Bootstrap, state_dir::StateDir};

const FILE: &str = "addresses.json";

/// What a busy host's burst of connections needs to wait; the kernel cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// Bound and listening, non-blocking.
#[derive(Debug)]
pub(super) struct Listeners {
    /// From other sidecars; `None`: the workload only calls.
    pub inbound: Option<TcpListener>,
    /// From the application.
    pub outbound: TcpListener,
    /// From the application, opaque bytes, each for one port of one service.
    pub tcp: Vec<(TcpListener, ServiceTarget)>,
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
#[derive(Debug, Serialize)]
struct Addresses<'a> {
    inbound: Option<SocketAddr>,
    outbound: SocketAddr,
    metrics: SocketAddr,
    admin: &'a Path,
    tcp: Vec<SocketAddr>,
}

impl Listeners {
    /// # Errors
    /// [`Exit::System`], naming the address and its setting.
    pub(super) fn bind(bootstrap: &Bootstrap) -> Result<(Self, Doors), Exit> {
        let tcp = bootstrap
            .tcp
            .iter()
            .map(|forward| Ok((bind("tcp", forward.local)?, forward.target.clone())));
        let listeners = Self {
            inbound: bootstrap
                .application_port
                .map(|_| bind("inbound", bootstrap.inbound))
                .transpose()?,
            outbound: bind("outbound", bootstrap.outbound)?,
            tcp: tcp.collect::<Result<_, Exit>>()?,
        };
        let doors = Doors {
            metrics: bind("metrics", bootstrap.metrics)?,
            socket: bind_admin(&bootstrap.admin_socket)?,
            socket_path: bootstrap.admin_socket.clone(),
        };
        Ok((listeners, doors))
    }

    /// Tells others where we are: whoever sees the file can connect.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(super) fn publish(&self, doors: &Doors, directory: &StateDir) -> io::Result<()> {
        let local = |(listener, _): &(TcpListener, ServiceTarget)| listener.local_addr();
        let addresses = Addresses {
            inbound: self
                .inbound
                .as_ref()
                .map(TcpListener::local_addr)
                .transpose()?,
            outbound: self.outbound.local_addr()?,
            metrics: doors.metrics.local_addr()?,
            admin: &doors.socket_path,
            tcp: self.tcp.iter().map(local).collect::<io::Result<_>>()?,
        };
        directory.write(FILE, &serde_json::to_vec(&addresses)?)
    }

    /// Takes back what an earlier run has published.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub(super) fn unpublish(directory: &StateDir) -> io::Result<()> {
        directory.remove(FILE)
    }
}

fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Exit> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart must not wait for the connections of the run before it to be forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(Exit::system(format!("listen on {address} (--{setting})")))
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
