//! EndpointSlices → endpoints of Services without a selector: places that nobody registers.

use std::{collections::BTreeMap, net::SocketAddr};

use usher_config::{
    kind::{self, EndpointSlice, SERVICE_NAME_LABEL},
    model::{Endpoint, Service},
    value::{InstanceName, Name, ServiceName, Weight},
};

use crate::registry::{instances::INSTANCES_MAX, places::instance_at};

use super::{Finding, Reason, index::Aged, index::Index};

/// By service and name. `services` are compiled: what a port's TLS is, they know.
pub(super) fn listed(
    index: &Index<'_>,
    services: &BTreeMap<ServiceName, Service>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ServiceName, BTreeMap<Name, Endpoint>> {
    let mut listed: BTreeMap<ServiceName, BTreeMap<Name, Endpoint>> = BTreeMap::new();
    for slice in &index.slices {
        let mut report = |reason, message| {
            findings.push(Finding {
                object: slice.key.clone(),
                reason,
                message,
            });
        };
        let (name, written) = match of_service(index, slice.object) {
            Ok(of) => of,
            Err((reason, message)) => {
                report(reason, message);
                continue;
            }
        };
        let Some(service) = services.get(&name) else {
            continue;
        };
        let all = listed.entry(name.clone()).or_default();
        let Added { unknown, beyond } = add(all, (written, service), slice);
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            report(
                Reason::RefNotResolved,
                format!("Service {name} has no port of the name {unknown}: nobody is called there"),
            );
        }
        if beyond > 0 {
            let message = format!(
                "Service {name} has {INSTANCES_MAX} endpoints with it; {beyond} more are not called"
            );
            report(Reason::TooLarge, message);
        }
    }
    listed
}

/// Whose addresses they are, or why nobody's.
fn of_service<'i>(
    index: &Index<'i>,
    slice: &EndpointSlice,
) -> Result<(ServiceName, &'i kind::Service), (Reason, String)> {
    let name = slice.service().and_then(|label| label.parse::<Name>().ok());
    let name = name.ok_or_else(|| {
        let message = format!("its label {SERVICE_NAME_LABEL} names no Service");
        (Reason::TargetNotFound, message)
    })?;
    let name = ServiceName {
        namespace: slice.metadata.namespace.clone(),
        name,
    };
    let Some(service) = index.services.get(&name) else {
        return Err((
            Reason::TargetNotFound,
            format!("Service {name} does not exist"),
        ));
    };
    if service.spec.selector.is_empty() {
        return Ok((name, service));
    }
    let message = format!(
        "Service {name} has a selector: its instances register themselves, and nobody is called here"
    );
    Err((Reason::NotEnforced, message))
}

/// What became of a slice.
#[derive(Debug, Default)]
struct Added {
    /// Names of ports that the Service has not.
    unknown: Vec<String>,
    /// How many places were too many.
    beyond: usize,
}

/// Each address with each port that the Service has by that name.
fn add(
    all: &mut BTreeMap<Name, Endpoint>,
    (written, service): (&kind::Service, &Service),
    slice: &Aged<'_, EndpointSlice>,
) -> Added {
    let mut added = Added::default();
    for port in &slice.object.spec.ports {
        let declared = written.spec.ports.iter().find(|one| one.name == port.name);
        let Some(declared) = declared.and_then(|declared| service.port(declared.port.get())) else {
            let name = port.name.as_ref().map_or("", Name::as_str);
            added.unknown.push(format!("`{name}`"));
            continue;
        };
        for endpoint in &slice.object.spec.endpoints {
            for address in &endpoint.addresses {
                let Some(instance) = instance_at(*address, (port.port, declared.port)) else {
                    continue;
                };
                if all.len() >= INSTANCES_MAX && !all.contains_key(&instance) {
                    added.beyond += 1;
                    continue;
                }
                // Two slices may name one place while one takes over from the other; it is the first one's.
                all.entry(instance.clone()).or_insert_with(|| Endpoint {
                    name: InstanceName {
                        service: service.name.clone(),
                        instance,
                    },
                    address: SocketAddr::new(*address, port.port.get()),
                    // Somebody says so: who dials the address itself means whatever is there.
                    address_is_own: false,
                    meshed: declared.tls.is_some(),
                    weight: Weight::ONE,
                    zone: endpoint.zone.clone().unwrap_or_default(),
                    healthy: endpoint.conditions.ready.unwrap_or(true),
                    ports: vec![declared.port],
                });
            }
        }
    }
    added
}
