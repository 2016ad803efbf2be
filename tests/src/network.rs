//! A network of the test's own: this thread's, with hosts that are network namespaces on one bridge.
//!
//! The test's thread moves into a new namespace, in which it is 10.77.0.1 and fd77::1. What it starts and connects
//! from then on is there. The network is gone with the hosts and the thread; nothing of the machine's own is touched.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns, unshare};

use crate::{Output, run, skip};

/// This thread's network.
#[derive(Debug)]
pub struct Network {
    hosts: AtomicU32,
}

/// A machine in it; its connections and listeners end with whoever holds them.
#[derive(Debug)]
pub struct Host {
    name: String,
    /// Its address.
    pub ipv4: String,
    /// Its other one.
    pub ipv6: String,
}

impl Network {
    /// Moves this thread into a network of its own; `None`, with the reason printed, where that is not possible.
    pub fn new() -> Result<Option<Self>> {
        let missing = ["nft", "ip", "setpriv"].into_iter().find(|program| {
            let found = |folder: &str| Path::new(folder).join(program).exists();
            !["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
                .into_iter()
                .any(found)
        });
        if let Some(program) = missing {
            skip(&format!("{program} is not installed"));
            return Ok(None);
        }
        if !nix::unistd::geteuid().is_root() {
            skip("only root can make network namespaces");
            return Ok(None);
        }
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            skip(&format!(
                "this machine gives no network namespace ({error})"
            ));
            return Ok(None);
        }
        for command in [
            "link set lo up",
            // An address of its own: else it takes the lowest of its ports', which changes when a host comes, and what
            // is sent to the old one is lost until its sender asks again.
            "link add usher0 address 02:00:00:4d:00:01 type bridge",
            "addr add 10.77.0.1/24 dev usher0",
            "addr add fd77::1/64 dev usher0 nodad",
            "link set usher0 up",
        ] {
            ip(command)?;
        }
        Ok(Some(Self {
            hosts: AtomicU32::new(1),
        }))
    }

    /// One more machine.
    pub fn host(&self) -> Result<Host> {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        // Names of namespaces are the machine's: another run may be under way.
        let thread = nix::unistd::gettid();
        let name = format!("usher-{thread}-{number}");
        let (ipv4, ipv6) = (format!("10.77.0.{number}"), format!("fd77::{number}"));
        ip(&format!("netns add {name}"))?;
        let host = Host { name, ipv4, ipv6 };
        let Host { name, ipv4, ipv6 } = &host;
        for command in [
            format!("link add port{number} type veth peer name eth0 netns {name}"),
            format!("link set port{number} master usher0 up"),
            format!("-n {name} addr add {ipv4}/24 dev eth0"),
            format!("-n {name} addr add {ipv6}/64 dev eth0 nodad"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} route add default via 10.77.0.1"),
            format!("-n {name} -6 route add default via fd77::1"),
        ] {
            ip(&command)?;
        }
        Ok(host)
    }
}

impl Host {
    /// Runs a program there, to its end.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let program = program.to_string_lossy();
        let before = ["netns", "exec", &self.name, &program];
        run(Path::new("ip"), before.iter().chain(arguments))
    }

    /// A command that starts a program there, as the user `uid`.
    pub fn command(&self, uid: u32, program: &Path) -> Command {
        let mut command = Command::new("ip");
        let uid = uid.to_string();
        command.args(["netns", "exec", &self.name, "setpriv", "--reuid", &uid]);
        command.arg("--clear-groups").arg(program);
        command
    }

    /// As [`Host::command`], with the capability to administer the network.
    pub fn capable_command(&self, uid: u32, program: &Path) -> Command {
        let mut command = Command::new("ip");
        let uid = uid.to_string();
        command.args(["netns", "exec", &self.name, "setpriv", "--reuid", &uid]);
        command.args(["--clear-groups", "--inh-caps", "+net_admin"]);
        command.args(["--ambient-caps", "+net_admin"]).arg(program);
        command
    }

    /// A listener there, ready for the runtime.
    pub fn listen(&self, address: &str) -> Result<TcpListener> {
        let address: SocketAddr = address.parse()?;
        self.inside(move || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
    }

    /// A connection from there, as an application's of this test's user.
    pub fn connect(&self, address: &str) -> Result<TcpStream> {
        let address: SocketAddr = address.parse()?;
        self.inside(move || {
            let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        })
    }

    /// A socket belongs to the namespace in which it was made, whoever uses it later.
    fn inside<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = File::open(Path::new("/run/netns").join(&self.name))?;
        let made = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            make()
        });
        made.join().ok().context("the thread panicked")?
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = run(Path::new("ip"), arguments.split(' '));
    anyhow::ensure!(output.code == Some(0), "ip {arguments}: {output:?}");
    Ok(())
}
