//! A request of an application, by its own sidecar: `proxy/src/outbound.rs` is the story.

use std::net::IpAddr;

use usher_config::{
    decide::route::{
        Table,
        authority::{self, Authority, Meaning},
        filter::Asked,
        followed,
    },
    model::{Protocol, Service},
    value::{Name, Port},
};

use super::{Caller, Imagined, Journey, Known, Seen, onward, passed_over, rule};
use crate::whatif::find;

/// What would become of a request that `caller`'s application sends to its sidecar.
pub fn from_sidecar(known: Known<'_>, caller: &Caller, imagined: &Imagined) -> Journey {
    let mut journey = Journey::new(imagined, &caller.name);
    let seen = match Seen::new(imagined, known.compiled.path_reading) {
        Ok(seen) => seen,
        Err(why) => return journey.refused(400, "DPE", why),
    };
    let service = match meant(known, &seen, &caller.namespace) {
        Ok(service) => service,
        Err((status, flag, why)) => return journey.refused(status, flag, why),
    };
    let Some(port) = authority::service_port(service, seen.port) else {
        let ports: Vec<String> = service
            .ports
            .iter()
            .map(|port| port.port.to_string())
            .collect();
        let asked = match seen.port {
            Some(port) => format!("it has no port {port}"),
            None => "no port is asked for, and it has several without 80 among them".to_owned(),
        };
        let why = format!("{}: {asked}; there is {}", service.name, ports.join(", "));
        return journey.refused(404, "NR", why);
    };
    journey.to = Some(format!("{}:{}", service.name, port.port));
    if port.protocol == Protocol::Tcp {
        let why = "the port is declared as opaque (appProtocol tcp), and this is an HTTP request";
        return journey.refused(421, "NR", why);
    }
    along_routes(known, (journey, caller), (service, port.port), &seen)
}

fn along_routes(
    known: Known<'_>,
    (mut journey, caller): (Journey, &Caller),
    (service, port): (&Service, Port),
    seen: &Seen<'_>,
) -> Journey {
    let request = seen.at(port);
    let (routes, _) = followed(service, &caller.namespace);
    let table = Table::new(routes);
    let selected = table.select(&request);
    let before = selected.map_or(table.routes().len(), |(position, _)| position);
    let before = table.routes().iter().take(before);
    journey.passed_over = passed_over(before, &request, known.places);
    let Some((_, route)) = selected else {
        if table.governs(port) {
            let why = "none of its routes takes this request (a rule without matches would take what the others leave)";
            return journey.refused(404, "NR", why);
        }
        journey.passed_over.clear();
        return onward::to_service(known, journey, (service, port), (seen, &caller.identity));
    };
    journey.rule = Some(rule(&route.name, known.places));
    let asked = Asked {
        method: &seen.imagined.method,
        headers: &seen.imagined.headers,
        uri: &seen.uri,
        https: false,
        port: None,
    };
    let policies = vec![Some(route.policy.clone()); route.backends.len()];
    onward::by_rule(
        known,
        journey,
        (route, &policies),
        (&asked, Some(&caller.identity)),
    )
}

/// The service that the authority names; else status, flag and why.
fn meant<'k>(
    known: Known<'k>,
    seen: &Seen<'_>,
    own: &Name,
) -> Result<&'k Service, (u16, &'static str, String)> {
    let authority = Authority {
        host: seen.host.as_str().into(),
        port: seen.port,
    };
    let services = &known.compiled.services;
    let no_host = |why| (404, "NR", why);
    match authority.meaning(own) {
        Some(Meaning::Service(name)) => services.get(&name).ok_or_else(|| {
            let why = find(services.keys(), &name.to_string(), "service").err();
            (503, "NC", why.unwrap_or_default())
        }),
        Some(Meaning::Address(address)) => by_address(known, address).ok_or_else(|| {
            no_host(format!(
                "no service has the address {address}; where instances are is not known here"
            ))
        }),
        None => Err(no_host(format!(
            "`{}` is nothing a service can be called: name, name.namespace, and that with .svc, .svc.cluster.local or .mesh",
            seen.host
        ))),
    }
}

fn by_address(known: Known<'_>, address: IpAddr) -> Option<&Service> {
    let mut services = known.compiled.services.values();
    services.find(|service| service.virtual_addresses.contains(&address))
}
