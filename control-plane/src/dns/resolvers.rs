//! Who is asked about names that are not of the mesh: whom the operator names, else the machine's own resolvers.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::time::sleep;
use tracing::{info, warn};

/// Where a machine says whom it asks.
const SYSTEM: &str = "/etc/resolv.conf";

/// How soon a change of that is noticed: a laptop that has moved to another network.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// As many as the C library takes; the fourth would be asked when the asker has long given up.
const RESOLVERS_MAX: usize = 3;

/// DNS' own port.
const PORT: u16 = 53;

/// Whom to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// The nameservers of `/etc/resolv.conf`, but never ourselves.
    #[default]
    System,
    /// These, in this order.
    Named(Vec<SocketAddr>),
    /// Nobody: other names are refused.
    Nobody,
}

/// Those who are asked now, in order.
#[derive(Debug)]
pub struct Resolvers {
    now: ArcSwap<Vec<SocketAddr>>,
    follows: Option<PathBuf>,
    own: SocketAddr,
}

impl Resolvers {
    /// For a server on `own`.
    pub fn new(source: &Source, own: SocketAddr) -> Self {
        let follows = (*source == Source::System).then(|| PathBuf::from(SYSTEM));
        let named = match source {
            Source::Named(named) => named.clone(),
            Source::System | Source::Nobody => Vec::new(),
        };
        let resolvers = Self {
            now: ArcSwap::from_pointee(named),
            follows,
            own,
        };
        if let Some(path) = resolvers.follows.clone() {
            resolvers.read(&path);
        }
        resolvers
    }

    /// Those who are asked now.
    pub fn now(&self) -> Arc<Vec<SocketAddr>> {
        self.now.load_full()
    }

    /// Follows the machine's file for as long as it is polled; ends at once if there is none to follow.
    pub async fn follow(&self) {
        let Some(path) = &self.follows else { return };
        let mut seen = modified(path);
        loop {
            sleep(LOOK_EVERY).await;
            let newest = modified(path);
            if newest != seen {
                seen = newest;
                self.read(path);
            }
        }
    }

    fn read(&self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                warn!(path = %path.display(), %error, "cannot read whom this machine asks about names");
                String::new()
            }
        };
        let others: Vec<SocketAddr> = nameservers(&text)
            .into_iter()
            .map(|address| SocketAddr::new(address, PORT))
            .filter(|address| !is_own(*address, self.own))
            .collect();
        if others != **self.now.load() {
            info!(resolvers = ?others, "other names are asked of");
            self.now.store(Arc::new(others));
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

/// Whether who asks `address` asks `own`.
pub fn is_own(address: SocketAddr, own: SocketAddr) -> bool {
    let is_of_this_machine = || {
        let bound: io::Result<UdpSocket> = UdpSocket::bind((address.ip(), 0));
        bound.is_ok()
    };
    address.port() == own.port()
        && (address.ip() == own.ip() || own.ip().is_unspecified() && is_of_this_machine())
}

/// The addresses of a `resolv.conf`, as the C library reads them: the first three, each once. One with a scope
/// (`fe80::1%eth0`) is left out, as its interface is the asker's own business.
pub(super) fn nameservers(text: &str) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    let words = text.lines().map(str::split_whitespace);
    let addresses = words.filter_map(|mut words| match words.next() {
        Some("nameserver") => words.next()?.parse::<IpAddr>().ok(),
        _ => None,
    });
    let first = addresses.filter(|address| seen.insert(*address));
    first.take(RESOLVERS_MAX).collect()
}
