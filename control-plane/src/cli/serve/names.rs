//! `--dns` and `--dns-forward`: where names are answered, and who is asked about others'.

use std::net::{IpAddr, SocketAddr};

use clap::Args;

use super::super::{Failure, exit};
use crate::dns::{Source, is_own};

/// Where names of the mesh are answered.
#[derive(Debug, Args)]
pub(super) struct Names {
    /// Address for DNS, UDP and TCP, or `off`; port 0: any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15053", value_parser = dns)]
    dns: Place,
    /// Resolvers that are asked about other names, in order, or `off` [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDR,...", value_parser = forward)]
    dns_forward: Option<Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    At(SocketAddr),
    Off,
}

impl Names {
    /// Where they are answered, if anywhere.
    pub(super) fn place(&self) -> Option<SocketAddr> {
        match self.dns {
            Place::At(address) => Some(address),
            Place::Off => None,
        }
    }

    /// Whom to ask about others.
    ///
    /// # Errors
    /// Ourselves.
    pub(super) fn source(&self) -> Result<Source, Failure> {
        let source = self.dns_forward.clone().unwrap_or_default();
        if let (Place::At(own), Source::Named(named)) = (self.dns, &source)
            && let Some(itself) = named.iter().find(|address| is_own(**address, own))
        {
            let message =
                format!("--dns-forward: found {itself}, which is --dns: it would ask itself");
            return Err(Failure::new(exit::USAGE, message).advise(
                "name another resolver, or `off` to refuse names that are not of the mesh",
            ));
        }
        Ok(source)
    }
}

fn dns(text: &str) -> Result<Place, String> {
    if text == "off" {
        return Ok(Place::Off);
    }
    let allowed = "allowed: `off`, or an IP address and a port, such as 127.0.0.1:15053 or 10.0.0.1:53; port 0: any that is free";
    text.parse().map(Place::At).map_err(|_| allowed.to_owned())
}

fn forward(text: &str) -> Result<Source, String> {
    if text == "off" {
        return Ok(Source::Nobody);
    }
    let address = |word: &str| {
        let of_port_53 = word.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        of_port_53.or_else(|_| word.parse::<SocketAddr>()).ok()
    };
    let named: Option<Vec<SocketAddr>> = text.split(',').map(str::trim).map(address).collect();
    named
        .filter(|named| named.iter().all(|one| one.port() != 0 && !one.ip().is_unspecified()))
        .map(Source::Named)
        .ok_or_else(|| {
            "allowed: `off`, or addresses with or without a port, such as 192.168.1.1 or 10.0.0.2:5353,[fd00::1]:53"
                .to_owned()
        })
}

#[cfg(test)]
mod tests;
