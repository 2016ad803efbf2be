//! A question and what is known → the records of an answer. Pure.

use std::net::IpAddr;

use hickory_proto::rr::{
    Name as DnsName, RData, Record, RecordType,
    rdata::{A, AAAA, PTR, SOA, SRV},
};
use usher_config::{
    kind::VirtualCidr,
    model::{Endpoint, ServicePort},
    value::{InstanceName, Name},
};

use crate::state::{Found, Named};

use super::{Asked, What, reverse};

/// How long a virtual address may be remembered, in seconds. It stays with its service for good, even while that is
/// deleted, so this only bounds how long a *change* of `virtualCidr` or `clusterIP` takes to be seen.
const ADDRESS_TTL: u32 = 30;

/// How long an instance may be remembered, and that a name is not there (RFC 2308), in seconds: a third of a lease. Who
/// asks a moment too early for a service that is just being written finds it with the next try.
const FLEETING_TTL: u32 = 5;

/// What is known that bears on a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The configuration's number, which is the zone's serial.
    pub revision: u64,
    /// Whether the namespace that was asked for has a service.
    pub has_namespace: bool,
    /// The service that was asked for; `None`: there is none of that name.
    pub service: Option<Found>,
    /// What is at the address that was asked for.
    pub named: Vec<Named>,
    /// All that the mesh gives to services; `None`: the question is not about addresses.
    pub virtual_block: Option<VirtualCidr>,
}

/// What is said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// There is such a name, perhaps without a record of the type (NODATA); else NXDOMAIN.
    pub exists: bool,
    /// The records asked for.
    pub answers: Vec<Record>,
    /// The zone's, when there are none.
    pub authorities: Vec<Record>,
    /// Addresses of what `answers` name.
    pub additionals: Vec<Record>,
}

/// The answer to a question about `name` in one of our domains; records are owned by the name as it was spelled.
pub fn answer(name: &DnsName, record_type: RecordType, asked: &Asked, view: &View) -> Answer {
    let Asked::Here { apex, what } = asked else {
        return of_addresses(name, record_type, asked, view);
    };
    let mut answer = Answer::default();
    let service = view.service.as_ref();
    match (what, service) {
        (What::Apex, _) => {
            answer.exists = true;
            if record_type == RecordType::SOA {
                answer.answers.push(soa(apex, view));
            }
        }
        (What::Namespace(_), _) => answer.exists = view.has_namespace,
        (What::Service(_), Some(service)) => {
            answer.exists = true;
            let addresses = service.virtual_addresses.iter();
            let addresses = addresses.filter_map(|at| address(name, record_type, ADDRESS_TTL, *at));
            answer.answers = addresses.collect();
        }
        (What::Ports(_), Some(_)) => answer.exists = true,
        (What::Instance(wanted), Some(service)) => {
            let found = service.instances.iter().find(|one| one.name == *wanted);
            answer.exists = found.is_some();
            let found = found.filter(|one| !is_behind_tls(one, service));
            let at = found.map(|one| one.address.ip());
            let record = at.and_then(|at| address(name, record_type, FLEETING_TTL, at));
            answer.answers.extend(record);
        }
        (What::Port { port, .. }, Some(service)) => {
            let port = service.ports.iter().find(|one| is_called(one, port));
            answer.exists = port.is_some();
            if let (RecordType::SRV, Some(port)) = (record_type, port) {
                instances(name, port, service, &mut answer);
            }
        }
        (What::Nothing, _) | (_, None) => {}
    }
    if answer.answers.is_empty() {
        answer.authorities.push(soa(apex, view));
    }
    answer
}

/// The names of an address. Of those that are the mesh's to give also that there is none, and what else somebody may ask
/// on the way there; of others nobody asks here.
fn of_addresses(name: &DnsName, record_type: RecordType, asked: &Asked, view: &View) -> Answer {
    let block = view.virtual_block;
    let apex = block.and_then(|block| reverse::zone(name, asked, block));
    let mut answer = Answer {
        exists: match asked {
            Asked::Addresses { leads_on, .. } => *leads_on,
            _ => !view.named.is_empty(),
        },
        ..Answer::default()
    };
    match (record_type, &apex) {
        (RecordType::PTR, _) => answer.answers = pointers(name, view),
        (RecordType::SOA, Some(apex)) if apex == name => answer.answers.push(soa(apex, view)),
        _ => {}
    }
    let denied = apex.filter(|_| answer.answers.is_empty());
    answer
        .authorities
        .extend(denied.map(|apex| soa(&apex, view)));
    answer
}

/// A PTR record for each name that an address has. In the shortest of our domains, which is also what we tell people to say.
fn pointers(name: &DnsName, view: &View) -> Vec<Record> {
    let records = view.named.iter().filter_map(|named| {
        let (target, ttl) = match named {
            Named::Service(service) => (in_mesh(&[&service.name, &service.namespace]), ADDRESS_TTL),
            Named::Instance(InstanceName { service, instance }) => {
                let labels = [instance, &service.name, &service.namespace];
                (in_mesh(&labels), FLEETING_TTL)
            }
        };
        let pointer = RData::PTR(PTR(target?));
        Some(Record::from_rdata(name.clone(), ttl, pointer))
    });
    records.collect()
}

/// Three labels of 63 fit into a name: always there.
fn in_mesh(labels: &[&Name]) -> Option<DnsName> {
    let labels = labels.iter().map(|label| label.as_str()).chain(["mesh"]);
    DnsName::from_labels(labels.map(str::as_bytes)).ok()
}

/// By its name, or by its number: ports of services that have only one need no name.
fn is_called(port: &ServicePort, wanted: &str) -> bool {
    port.name.as_str() == wanted || port.port.get().to_string() == wanted
}

/// An SRV record for each healthy instance, and the address of each.
fn instances(name: &DnsName, port: &ServicePort, service: &Found, answer: &mut Answer) {
    let serves = |one: &&Endpoint| one.ports.is_empty() || one.ports.contains(&port.port);
    let healthy = || {
        let healthy = service.instances.iter().filter(|instance| instance.healthy);
        healthy.filter(serves)
    };
    let heaviest = healthy().map(|one| one.weight.get()).max().unwrap_or(0);
    // `_port._tcp` are two labels before the service's own name.
    let service_name = name.trim_to(usize::from(name.num_labels()).saturating_sub(2));
    if port.tls.is_some() {
        // By the service's own address, where sidecars open the TLS: at an instance's they would carry plaintext past it.
        let srv = RData::SRV(SRV::new(0, 1, port.port.get(), service_name.clone()));
        let record = Record::from_rdata(name.clone(), FLEETING_TTL, srv);
        if healthy().next().is_some() {
            answer.answers.push(record);
            for at in &service.virtual_addresses {
                let kinds = [RecordType::A, RecordType::AAAA].into_iter();
                let addresses =
                    kinds.filter_map(|kind| address(&service_name, kind, ADDRESS_TTL, *at));
                answer.additionals.extend(addresses);
            }
        }
        return;
    }
    for instance in healthy() {
        let label = instance.name.instance.as_str();
        // Fails only if the name becomes too long: then nobody could ask for it either.
        let Ok(target) = service_name.prepend_label(label) else {
            continue;
        };
        let number = port_of(instance, port);
        let weight = scaled(instance.weight.get(), heaviest);
        let srv = RData::SRV(SRV::new(0, weight, number, target.clone()));
        let record = Record::from_rdata(name.clone(), FLEETING_TTL, srv);
        answer.answers.push(record);
        let at = instance.address.ip();
        let kinds = [RecordType::A, RecordType::AAAA].into_iter();
        let addresses = kinds.filter_map(|kind| address(&target, kind, FLEETING_TTL, at));
        answer.additionals.extend(addresses);
    }
}

/// The port at which an instance is called. Where its address is proven to be its own, that is the service's: who is
/// intercepted and dials it there means this instance. On loopback, or behind an address that others may share, only its
/// sidecar's listener tells it from the others.
fn port_of(instance: &Endpoint, port: &ServicePort) -> u16 {
    if instance.address_is_own && !instance.address.ip().is_loopback() {
        port.port.get()
    } else {
        instance.address.port()
    }
}

/// Whether an instance is only to be called inside TLS that its callers' sidecars open: its own address leads around it.
fn is_behind_tls(instance: &Endpoint, service: &Found) -> bool {
    let mut ports = service.ports.iter();
    ports.any(|port| port.tls.is_some() && instance.ports.contains(&port.port))
}

/// A weight in the 16 bits that SRV has, in proportion to the others.
fn scaled(weight: u32, heaviest: u32) -> u16 {
    let most = u64::from(u16::MAX);
    let scaled = if u64::from(heaviest) > most {
        u64::from(weight) * most / u64::from(heaviest)
    } else {
        u64::from(weight)
    };
    u16::try_from(scaled).unwrap_or(u16::MAX)
}

fn address(name: &DnsName, record_type: RecordType, ttl: u32, at: IpAddr) -> Option<Record> {
    let data = match (record_type, at.to_canonical()) {
        (RecordType::A, IpAddr::V4(at)) => RData::A(A(at)),
        (RecordType::AAAA, IpAddr::V6(at)) => RData::AAAA(AAAA(at)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), ttl, data))
}

/// The zone's own record; beside "there is none" it says for how long that may be believed.
fn soa(apex: &DnsName, view: &View) -> Record {
    let keeper = apex.prepend_label("hostmaster");
    let keeper = keeper.unwrap_or_else(|_| apex.clone());
    // Serials are compared modulo 2^32 (RFC 1982).
    let serial = u32::try_from(view.revision % (1 << 32)).unwrap_or(0);
    let soa = SOA::new(apex.clone(), keeper, serial, 60, 10, 3600, FLEETING_TTL);
    Record::from_rdata(apex.clone(), FLEETING_TTL, RData::SOA(soa))
}
