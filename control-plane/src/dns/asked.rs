//! A name → what it can mean in the mesh. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name as DnsName;
use usher_config::value::{InstanceName, Name, ServiceName};

/// The domains in which services have names, the longest of two that end alike first. The same that sidecars take in
/// `Host` and `:authority` (`proxy/src/route/authority.rs`); we answer for all of each: a name in it that is not of the
/// mesh is nobody's, and asking the world about it would only tell the world.
const DOMAINS: [&[&str]; 3] = [&["svc", "cluster", "local"], &["svc"], &["mesh"]];

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Not ours.
    Elsewhere,
    /// An address, whose name is asked for (RFC 1035 §3.5, RFC 3596 §2.5). Ours only where the mesh knows it, or gives it.
    Address(IpAddr),
    /// What is on the way to addresses, such as `240.240.in-addr.arpa`, or beside them. Ours where all of those are.
    Addresses {
        /// Of those that begin so.
        first: Ipv4Addr,
        /// How many octets are said, from 1.
        known: usize,
        /// Whether addresses are below it: not below a whole one, nor below what is none.
        leads_on: bool,
    },
    /// Ours.
    Here {
        /// The domain's own name.
        apex: DnsName,
        /// Which name in it.
        what: What,
    },
}

/// A name in one of our domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The domain itself.
    Apex,
    /// `namespace`.
    Namespace(Name),
    /// `service.namespace`.
    Service(ServiceName),
    /// `instance.service.namespace`.
    Instance(InstanceName),
    /// `_tcp.service.namespace`: only a step on the way to its ports.
    Ports(ServiceName),
    /// `_port._tcp.service.namespace`.
    Port {
        /// Whose.
        service: ServiceName,
        /// Its name or its number, in lower case.
        port: String,
    },
    /// Nothing that anything can be called.
    Nothing,
}

impl Asked {
    /// Upper and lower case are one (RFC 4343).
    pub fn of(name: &DnsName) -> Self {
        // What is not ASCII is in no domain of ours, or is nothing there.
        let labels: Vec<String> = name
            .iter()
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        if let Some(address) = address(&labels) {
            return Self::Address(address);
        }
        if let Some(addresses) = addresses(&labels) {
            return addresses;
        }
        let stem = DOMAINS
            .iter()
            .find_map(|domain| Some((labels.strip_suffix(*domain)?, domain.len())));
        match stem {
            None => Self::Elsewhere,
            Some((stem, domain)) => Self::Here {
                apex: name.trim_to(domain),
                what: What::of(stem).unwrap_or(What::Nothing),
            },
        }
    }

    /// Whose instances or addresses have to be known for an answer.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Elsewhere | Self::Address(_) | Self::Addresses { .. } => None,
            Self::Here { what, .. } => match what {
                What::Apex | What::Namespace(_) | What::Nothing => None,
                What::Service(service) | What::Ports(service) | What::Port { service, .. } => {
                    Some(service)
                }
                What::Instance(name) => Some(&name.service),
            },
        }
    }
}

impl What {
    fn of(stem: &[&str]) -> Option<Self> {
        let service = |name: &str, namespace: &str| {
            Some(ServiceName {
                namespace: namespace.parse().ok()?,
                name: name.parse().ok()?,
            })
        };
        Some(match *stem {
            [] => Self::Apex,
            [namespace] => Self::Namespace(namespace.parse().ok()?),
            [name, namespace] => Self::Service(service(name, namespace)?),
            ["_tcp", name, namespace] => Self::Ports(service(name, namespace)?),
            [instance, name, namespace] => Self::Instance(InstanceName {
                service: service(name, namespace)?,
                instance: instance.parse().ok()?,
            }),
            [port, "_tcp", name, namespace] => Self::Port {
                service: service(name, namespace)?,
                port: port.strip_prefix('_')?.to_owned(),
            },
            _ => return None,
        })
    }
}

/// `9.0.240.240.in-addr.arpa`, or 32 hexadecimal digits under `ip6.arpa`. What is spelled otherwise is nobody's, or a zone.
fn address(labels: &[&str]) -> Option<IpAddr> {
    if let Some(octets) = labels.strip_suffix(&["in-addr", "arpa"]) {
        let octets = octets.iter().rev().map(|label| octet(label));
        let octets: Vec<u8> = octets.collect::<Option<_>>()?;
        let octets: [u8; 4] = octets.try_into().ok()?;
        return Some(Ipv4Addr::from(octets).into());
    }
    let digits = labels.strip_suffix(&["ip6", "arpa"])?;
    let digits = digits.iter().rev().map(|label| {
        let mut digits = label.chars();
        let digit = digits.next()?.to_digit(16)?;
        digits.next().is_none().then_some(digit)
    });
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    let digits: [u32; 32] = digits.try_into().ok()?;
    let bits = digits
        .iter()
        .fold(0, |bits: u128, digit| bits << 4 | u128::from(*digit));
    Some(IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical())
}

/// As many octets as are said, from the first.
fn addresses(labels: &[&str]) -> Option<Asked> {
    let said = labels.strip_suffix(&["in-addr", "arpa"])?;
    let octets: Vec<u8> = said
        .iter()
        .rev()
        .map_while(|label| octet(label))
        .take(4)
        .collect();
    let mut first = [0; 4];
    for (place, octet) in first.iter_mut().zip(&octets) {
        *place = *octet;
    }
    (!octets.is_empty()).then(|| Asked::Addresses {
        first: first.into(),
        known: octets.len(),
        leads_on: said.len() == octets.len(),
    })
}

fn octet(label: &str) -> Option<u8> {
    let octet: u8 = label.parse().ok()?;
    (octet.to_string() == label).then_some(octet)
}
