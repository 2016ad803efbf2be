//! The settings of a gateway, and those that it cannot have.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use usher_config::value::{InvalidValue, Port, parse_duration};

use super::{Parsed, Reader, boolean, path, socket_address};
use crate::bootstrap::{CertificateFiles, GatewayRole, Mistake};

/// Settings about an application.
const OF_SIDECARS: [&str; 7] = [
    "application-port",
    "inbound",
    "advertise",
    "outbound",
    "tcp",
    "transparent",
    "danger-exposed-application",
];

const OF_GATEWAYS: [&str; 5] = [
    "listen-ip",
    "listen",
    "certificate",
    "trusted-hops",
    "drain-notice",
];

/// More proxies in a row than anybody has; a larger number is a mistake that would let callers say who they are.
const TRUSTED_HOPS_MAX: u8 = 8;

/// The role, if this is a gateway.
pub(super) fn role(reader: &mut Reader<'_>, drain_grace: Duration) -> Option<GatewayRole> {
    let is_gateway = reader.optional("gateway", boolean).unwrap_or(false);
    let listen_ip = reader.optional("listen-ip", ip);
    let listen = reader.list("listen", listen);
    let certificates = reader.list("certificate", certificate);
    let trusted_hops = reader.optional("trusted-hops", hops);
    let drain_notice = reader.optional("drain-notice", parse_duration);
    if let Some(notice) = drain_notice.filter(|notice| *notice >= drain_grace)
        && let Some((source, _)) = reader.layers.all("drain-notice")
    {
        let message = format!(
            "found {notice:?}, allowed: less than drain-grace ({drain_grace:?}), of which it is a part"
        );
        reader.mistakes.push(Mistake {
            source: source.clone(),
            message,
        });
    }
    let (foreign, why): (&[&'static str], _) = if is_gateway {
        (&OF_SIDECARS, "a gateway has no application: leave it out")
    } else {
        (&OF_GATEWAYS, "only a gateway has it (--gateway)")
    };
    for name in foreign {
        if let Some((source, _)) = reader.layers.all(name) {
            reader.mistakes.push(Mistake {
                source: source.clone(),
                message: why.to_owned(),
            });
        }
    }
    repeated(reader, "listen", listen.iter().map(|(port, _)| port));
    repeated(
        reader,
        "certificate",
        certificates.iter().map(|files| &files.name),
    );
    is_gateway.then(|| GatewayRole {
        listen_ip: listen_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        listen,
        certificates,
        trusted_hops: trusted_hops.unwrap_or(0),
        drain_notice: drain_notice.unwrap_or(drain_grace / 2),
    })
}

/// Each key once: of two, one would silently not count.
fn repeated<T: PartialEq + ToString>(
    reader: &mut Reader<'_>,
    name: &'static str,
    keys: impl Iterator<Item = T>,
) {
    let mut seen: Vec<T> = Vec::new();
    for key in keys {
        if seen.contains(&key)
            && let Some((source, _)) = reader.layers.all(name)
        {
            let message = format!("{} for the second time", key.to_string());
            reader.mistakes.push(Mistake {
                source: source.clone(),
                message,
            });
        }
        seen.push(key);
    }
}

fn hops(text: &str) -> Parsed<u8> {
    let hops = text.parse().ok().filter(|hops| *hops <= TRUSTED_HOPS_MAX);
    hops.ok_or_else(|| InvalidValue::new(text, "a number of proxies from 0 to 8"))
}

fn ip(text: &str) -> Parsed<IpAddr> {
    text.parse()
        .map_err(|_| InvalidValue::new(text, "an IP address, such as 0.0.0.0 or 127.0.0.1"))
}

fn listen(text: &str) -> Parsed<(Port, SocketAddr)> {
    let invalid = || {
        InvalidValue::new(
            text,
            "PORT=ADDR:PORT, the Gateway's port first, such as 443=0.0.0.0:8443",
        )
    };
    let (port, address) = text.split_once('=').ok_or_else(invalid)?;
    Ok((
        port.parse().map_err(|_| invalid())?,
        socket_address(address).map_err(|_| invalid())?,
    ))
}

fn certificate(text: &str) -> Parsed<CertificateFiles> {
    let invalid = || {
        InvalidValue::new(
            text,
            "[NS/]NAME=CERT,KEY: a certificateRef's name (and its namespace, if that is another one) and two PEM files, such as web=/etc/tls/tls.crt,/etc/tls/tls.key",
        )
    };
    let (name, files) = text.split_once('=').ok_or_else(invalid)?;
    let (certificate, key) = files.split_once(',').ok_or_else(invalid)?;
    Ok(CertificateFiles {
        name: name.parse().map_err(|_| invalid())?,
        certificate: path(certificate).map_err(|_| invalid())?,
        key: path(key).map_err(|_| invalid())?,
    })
}
