//! Where things are by default: the data directory, and the addresses a running control plane left in it.

use std::{env, path::PathBuf};

use clap::Args;

use super::{Failure, exit};
use crate::addresses::Addresses;

/// Where the control plane keeps its root key, tokens and accepted configuration.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct DataDirectory {
    /// Data directory of the control plane [default: $XDG_STATE_HOME/usher, else ~/.local/state/usher]
    #[arg(long, value_name = "DIR", env = "USHER_DATA")]
    data: Option<PathBuf>,
}

impl DataDirectory {
    /// The directory; relative to the working directory only if neither XDG_STATE_HOME nor HOME is set.
    pub(super) fn path(&self) -> PathBuf {
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        self.data.clone().unwrap_or_else(|| {
            absolute("XDG_STATE_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
                .unwrap_or_default()
                .join("usher")
        })
    }

    /// Whether it is the one that every verb takes without being told.
    pub(super) fn is_default(&self) -> bool {
        self.data.is_none()
    }

    /// The socket on which a local operator may ask for tokens.
    pub(super) fn operator_socket(&self) -> PathBuf {
        self.path().join("operator.sock")
    }

    /// The addresses of the control plane that runs on this directory, if one does.
    pub(super) fn addresses(&self) -> Option<Addresses> {
        Addresses::read(&self.path())
    }
}

/// Where to read the living mesh.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ServerAddress {
    /// REST address of the control plane [default: of the one on the data directory, else http://127.0.0.1:15010]
    #[arg(long, value_name = "URL", env = "USHER_SERVER")]
    server: Option<String>,
    #[command(flatten)]
    data: DataDirectory,
}

impl ServerAddress {
    /// The data directory of a control plane on this machine.
    pub(super) fn data(&self) -> &DataDirectory {
        &self.data
    }

    /// `host:port`. A data directory that was named is meant: whoever else answers on the usual port is another mesh.
    pub(super) fn authority(&self) -> Result<String, Failure> {
        if let Some(url) = &self.server {
            return authority(url).ok_or_else(|| {
                let found = shown(url);
                let message = format!(
                    "--server (USHER_SERVER): found {found}, allowed: http://HOST:PORT, such as http://127.0.0.1:15010"
                );
                Failure::new(exit::USAGE, message)
            });
        }
        match self.data.addresses() {
            Some(addresses) => Ok(addresses.http.to_string()),
            None if self.data.is_default() => Ok("127.0.0.1:15010".to_owned()),
            None => {
                let data = self.data.path();
                let message = format!(
                    "no control plane runs on the data directory {}",
                    data.display()
                );
                Err(Failure::new(exit::UNAVAILABLE, message)
                    .advise("start one: usher serve --config DIR, with the same --data")
                    .advise("one elsewhere: --server http://HOST:PORT, or USHER_SERVER"))
            }
        }
    }
}

/// A password is nothing for a terminal or a log.
fn shown(url: &str) -> String {
    if url.contains('@') {
        "a URL with a user name".to_owned()
    } else {
        format!("`{url}`")
    }
}

/// `HOST:PORT` of `http://HOST:PORT`.
fn authority(url: &str) -> Option<String> {
    let text = url.trim_start_matches("http://").trim_end_matches('/');
    let authority: http::uri::Authority = text.parse().ok()?;
    let is_whole = authority.port_u16().is_some_and(|port| port != 0)
        && !authority.host().is_empty()
        && !text.contains('@');
    is_whole.then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
