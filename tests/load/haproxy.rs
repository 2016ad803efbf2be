//! A pair of haproxys with mutual TLS between them: the leanest peer, which does nothing but forward.

use std::{path::Path, process::Command};

use anyhow::Result;
use usher_tests::Process;

use crate::{certificates, protocol::Protocol};

/// Two haproxys; killed when dropped.
pub(crate) struct Pair {
    pub(crate) entry: String,
    children: Vec<Process>,
}

impl Pair {
    pub(crate) fn start(
        binary: &Path,
        protocol: Protocol,
        folder: &Path,
        upstream: u16,
    ) -> Result<Self> {
        let folder = folder.join("haproxy");
        std::fs::create_dir_all(&folder)?;
        certificates::write(&folder)?;
        // haproxy wants the certificate and its key in one file.
        let both = ["cert.pem", "key.pem"].map(|name| std::fs::read_to_string(folder.join(name)));
        let [certificate, key] = both;
        std::fs::write(folder.join("both.pem"), certificate? + &key?)?;
        let (outbound, inbound) = (crate::free_port()?, crate::free_port()?);
        let sides = [
            ("inbound.cfg", inbound_side(protocol, inbound, upstream)),
            ("outbound.cfg", outbound_side(protocol, outbound, inbound)),
        ];
        let mut children = Vec::new();
        for (name, side) in sides {
            let path = folder.join(name);
            std::fs::write(&path, format!("{COMMON}{side}"))?;
            let mut command = Command::new(binary);
            command.args(["-db", "-f", name]).current_dir(&folder);
            children.push(Process::start(command, path.with_extension("log")));
        }
        Ok(Self {
            entry: format!("127.0.0.1:{outbound}"),
            children,
        })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Process::pid).collect()
    }
}

const COMMON: &str = "global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse always
";

fn outbound_side(protocol: Protocol, port: u16, next: u16) -> String {
    let (listen, hop) = match protocol {
        Protocol::Http1 => ("", "alpn http/1.1"),
        Protocol::Grpc => ("proto h2", "alpn h2"),
    };
    format!(
        "frontend out
  bind 127.0.0.1:{port} {listen}
  default_backend next
backend next
  server next 127.0.0.1:{next} ssl verify required ca-file root.pem crt both.pem verifyhost peer {hop}
"
    )
}

fn inbound_side(protocol: Protocol, port: u16, next: u16) -> String {
    let (alpn, hop) = match protocol {
        Protocol::Http1 => ("http/1.1", ""),
        Protocol::Grpc => ("h2", "proto h2"),
    };
    format!(
        "frontend in
  bind 127.0.0.1:{port} ssl crt both.pem ca-file root.pem verify required alpn {alpn}
  default_backend next
backend next
  server next 127.0.0.1:{next} {hop}
"
    )
}
