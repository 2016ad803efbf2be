//! `--store` and what it takes to reach etcd.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, exit};
use crate::server::StoreChoice;

/// Where accepted configuration, registrations and tokens are kept.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// Keep configuration, registrations and join tokens in etcd, for several control planes of one mesh:
    /// etcd://HOST:PORT[,HOST:PORT...]. Left out: in the data directory, for this one alone
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// What all keys in etcd begin with; a mesh of its own for each
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "/usher",
        requires = "store"
    )]
    etcd_prefix: String,
    /// Certificates, PEM, of which one has to have signed etcd's; without it the connection is plaintext
    #[arg(long, value_name = "FILE", requires = "store")]
    etcd_ca: Option<PathBuf>,
    /// Certificate to show etcd, PEM
    #[arg(long, value_name = "FILE", requires_all = ["etcd_ca", "etcd_key"])]
    etcd_cert: Option<PathBuf>,
    /// The certificate's key, PEM; a file that only its owner can read
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    etcd_key: Option<PathBuf>,
    /// Name to log in to etcd with
    #[arg(long, value_name = "NAME", requires_all = ["store", "etcd_password_file"])]
    etcd_user: Option<String>,
    /// File with the password, which only its owner can read
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
}

impl StoreArgs {
    /// Whether others may write to it.
    pub(super) fn is_shared(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn choice(&self) -> Result<StoreChoice, Failure> {
        let Some(url) = &self.store else {
            return Ok(StoreChoice::Embedded);
        };
        let members = members(url).map_err(|message| Failure::new(exit::USAGE, message))?;
        self.etcd(members)
    }

    #[cfg(not(feature = "etcd"))]
    fn etcd(&self, _: Vec<String>) -> Result<StoreChoice, Failure> {
        let message = "--store: this usher was built without etcd";
        Err(Failure::new(exit::USAGE, message)
            .advise(
                "build one with it: cargo build --release -p usher-control-plane --features etcd",
            )
            .advise("that needs protoc: apt-get install protobuf-compiler libprotobuf-dev"))
    }

    #[cfg(feature = "etcd")]
    fn etcd(&self, members: Vec<String>) -> Result<StoreChoice, Failure> {
        use crate::{
            private_files::read_private,
            registry::etcd::{EtcdOptions, TlsFiles, client_tls},
        };

        if !self.etcd_prefix.starts_with('/') || self.etcd_prefix.ends_with('/') {
            let message = format!(
                "--etcd-prefix: found `{}`, allowed: a path that begins with a slash and does not end with one, such as /usher",
                self.etcd_prefix
            );
            return Err(Failure::new(exit::USAGE, message));
        }
        let unusable = |error: &dyn std::error::Error| Failure::of(exit::SYSTEM, error);
        let certificate = self.etcd_cert.as_deref().zip(self.etcd_key.as_deref());
        let tls = match &self.etcd_ca {
            Some(ca) => {
                let files = TlsFiles { ca, certificate };
                Some(client_tls(&files).map_err(|error| unusable(&error))?)
            }
            None => {
                warn_of_plaintext(&members);
                None
            }
        };
        let user = match self.etcd_user.clone().zip(self.etcd_password_file.as_ref()) {
            Some((name, file)) => {
                let password = read_private(file).map_err(|error| {
                    let message = format!("--etcd-password-file: {}: {error}", file.display());
                    Failure::new(exit::SYSTEM, message)
                })?;
                let password = String::from_utf8_lossy(&password).trim_end().to_owned();
                Some((name, password))
            }
            None => None,
        };
        Ok(StoreChoice::Etcd(EtcdOptions {
            members,
            prefix: self.etcd_prefix.clone(),
            tls,
            user,
        }))
    }
}

/// Whoever is between could give the mesh another configuration.
#[cfg(feature = "etcd")]
fn warn_of_plaintext(members: &[String]) {
    let is_here = |member: &String| {
        let address = member.parse::<std::net::SocketAddr>();
        member.starts_with("localhost:") || address.is_ok_and(|address| address.ip().is_loopback())
    };
    if !members.iter().all(is_here) {
        tracing::warn!(
            "danger: etcd is reached without TLS: whoever is between can change the mesh's configuration; use --etcd-ca"
        );
    }
}

/// `host:port` of each member.
fn members(url: &str) -> Result<Vec<String>, String> {
    let allowed = "allowed: etcd://HOST:PORT, several with commas between, such as etcd://10.0.0.1:2379,10.0.0.2:2379";
    let list = url
        .strip_prefix("etcd://")
        .map(|list| list.trim_end_matches('/'));
    let is_member = |member: &str| {
        let authority = member.parse::<http::uri::Authority>();
        let named = |one: http::uri::Authority| {
            one.port_u16().is_some_and(|port| port != 0) && !one.host().is_empty()
        };
        !member.contains('@') && authority.is_ok_and(named)
    };
    match list {
        // What stands before an @ may be a password.
        _ if url.contains('@') => Err(format!(
            "--store: found a URL with a user in it, {allowed}; the user is --etcd-user and --etcd-password-file"
        )),
        Some(list) if list.split(',').all(is_member) => {
            Ok(list.split(',').map(str::to_owned).collect())
        }
        _ => Err(format!("--store: found `{url}`, {allowed}")),
    }
}

#[cfg(test)]
mod tests;
