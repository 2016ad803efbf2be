//! haproxy: the leanest peer, which does nothing but forward.

use std::{fmt::Write as _, path::Path, process::Command};

use anyhow::Result;

use super::{Setting, Side, Step};
use crate::protocol::Protocol;

pub(super) fn command(binary: &Path, setting: &Setting<'_>, step: &Step) -> Result<Command> {
    let folder = setting.folder;
    // haproxy wants the certificate and its key in one file.
    let certificate = std::fs::read_to_string(folder.join("cert.pem"))?;
    let key = std::fs::read_to_string(folder.join("key.pem"))?;
    std::fs::write(folder.join("both.pem"), certificate + &key)?;
    let name = format!("{}.cfg", step.side.name());
    std::fs::write(folder.join(&name), configuration(setting.protocol, step))?;
    let mut command = Command::new(binary);
    command.args(["-db", "-f", &name]).current_dir(folder);
    Ok(command)
}

/// With this many connections haproxy asks for twice as many files: below the usual limit of 20,000.
const COMMON: &str = "global
  nbthread 1
  maxconn 9500
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-options ssl-min-ver TLSv1.3
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  timeout connect 1s
  timeout client 600s
  timeout server 600s
";

fn configuration(protocol: Protocol, step: &Step) -> String {
    let mut text = COMMON.to_owned();
    text.push_str(match protocol {
        Protocol::Tcp => "  mode tcp\n",
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => "  mode http\n  http-reuse always\n",
    });
    let (alpn, prior_knowledge) = match protocol {
        Protocol::Http1 => ("alpn http/1.1", ""),
        Protocol::Http2 | Protocol::Grpc => ("alpn h2", "proto h2"),
        Protocol::Tcp => ("", ""),
    };
    let downstream = match step.side {
        Side::Inbound => format!("ssl crt both.pem ca-file root.pem verify required {alpn}"),
        Side::Outbound | Side::Hop => prior_knowledge.to_owned(),
    };
    let upstream = match step.side {
        Side::Outbound => {
            format!("ssl verify required ca-file root.pem crt both.pem verifyhost peer {alpn}")
        }
        Side::Inbound | Side::Hop => prior_knowledge.to_owned(),
    };
    let Step { listen, next, .. } = step;
    let _ = write!(
        text,
        "frontend in\n  bind {listen} {downstream}\n  default_backend next\n\
         backend next\n  server next {next} {upstream}\n"
    );
    text
}
