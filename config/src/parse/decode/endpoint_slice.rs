//! `EndpointSlice`.

use std::net::IpAddr;

use crate::{
    kind::{AddressType, EndpointSliceSpec, SliceConditions, SliceEndpoint, SlicePort, Transport},
    parse::fields::{Fields, Once},
    parse::place::Place,
};

/// As many as a Service may have instances.
const PLACES_MAX: usize = 10_000;

pub(super) fn slice(fields: &mut Fields<'_>) -> Option<EndpointSliceSpec> {
    let address_type = fields.required("addressType", |place| match place.text()? {
        "FQDN" => place.wrong(
            "`FQDN`: every caller would ask its own name server, and get another answer",
            "IPv4, IPv6: the addresses behind the name",
        ),
        _ => place.choice::<AddressType>(),
    });
    let mut once = Once::default();
    let endpoints = fields.list("endpoints", 0..=1000, |place| {
        endpoint(&place, address_type, &mut once)
    });
    let mut once = Once::default();
    let ports = fields.list("ports", 1..=100, |place| {
        let port = port(&place)?;
        once.check(&place, port.name.as_ref().map_or("", |name| name.as_str()));
        Some(port)
    });
    let addresses: usize = endpoints.iter().map(|one| one.addresses.len()).sum();
    let places = addresses * ports.len();
    if places > PLACES_MAX
        && let Some(place) = fields.at("endpoints")
    {
        let found = format!("{addresses} addresses with {} ports each", ports.len());
        place.wrong::<()>(found, format!("at most {PLACES_MAX} places together"));
    }
    Some(EndpointSliceSpec {
        address_type: address_type?,
        endpoints,
        ports,
    })
}

fn endpoint(
    place: &Place<'_>,
    kind: Option<AddressType>,
    once: &mut Once,
) -> Option<SliceEndpoint> {
    let mut fields = place.fields()?;
    let addresses = fields.list("addresses", 1..=100, |place| {
        let address = address(&place, kind)?;
        once.check(&place, address.to_string());
        Some(address)
    });
    let conditions = fields.group("conditions", |place| {
        let mut fields = place.fields()?;
        let conditions = SliceConditions {
            ready: fields.optional("ready", |place| place.boolean()),
            serving: fields.optional("serving", |place| place.boolean()),
            terminating: fields.optional("terminating", |place| place.boolean()),
        };
        fields.finish();
        Some(conditions)
    });
    let zone = fields.optional("zone", |place| place.text().map(str::to_owned));
    for name in [
        "hostname",
        "nodeName",
        "targetRef",
        "hints",
        "deprecatedTopology",
    ] {
        fields.unsupported(name);
    }
    fields.finish();
    Some(SliceEndpoint {
        addresses,
        conditions,
        zone,
    })
}

/// Of the slice's kind, and no address that means something else to each host, or many at once (as in Kubernetes, but for
/// loopback: on a laptop everything is there).
fn address(place: &Place<'_>, kind: Option<AddressType>) -> Option<IpAddr> {
    let allowed = match kind {
        Some(AddressType::Ipv4) => "an IPv4 address (addressType), without a port",
        Some(AddressType::Ipv6) => "an IPv6 address (addressType), without a port",
        None => "an IP address, without a port",
    };
    let address = place.read(|text| text.parse::<IpAddr>().ok(), allowed)?;
    let fits = match kind {
        Some(AddressType::Ipv4) => address.is_ipv4(),
        Some(AddressType::Ipv6) => address.is_ipv6(),
        None => true,
    };
    if !fits {
        return place.wrong(format!("`{address}`"), allowed);
    }
    let everywhere = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        // Another spelling of an address of version 4 is not one of version 6.
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some()
        }
    };
    if everywhere || address.is_unspecified() || address.is_multicast() {
        return place.wrong(
            format!("`{address}`"),
            "the address of one host: neither link-local nor unspecified, broadcast, multicast or an IPv4 address mapped",
        );
    }
    Some(address)
}

fn port(place: &Place<'_>) -> Option<SlicePort> {
    let mut fields = place.fields()?;
    let name = fields.optional("name", |place| match place.text()? {
        // As Kubernetes writes it for a port without a name.
        "" => None,
        _ => place.parse(),
    });
    let port = fields.required("port", |place| place.number());
    let protocol = fields.optional("protocol", |place| place.choice());
    // What is spoken, the Service says.
    fields.unsupported("appProtocol");
    fields.finish();
    Some(SlicePort {
        name,
        port: port?,
        protocol: protocol.unwrap_or(Transport::Tcp),
    })
}
