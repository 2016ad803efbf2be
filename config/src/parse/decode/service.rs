//! `Service` and `Workload`.

use crate::{
    kind::{HealthCheck, HealthProbe, ServicePort, ServiceSpec, Transport, WorkloadSpec},
    parse::fields::Once,
    parse::place::Place,
    value::Port,
};

use super::{labels, positive};

pub(super) fn service(place: &Place<'_>) -> Option<ServiceSpec> {
    let mut fields = place.fields()?;
    let selector = fields.group("selector", |place| labels(&place));
    let (mut numbers, mut names) = (Once::default(), Once::default());
    let several = fields.at("ports").is_some_and(|place| place.len() > 1);
    let ports = fields.list("ports", 1..=64, |place| {
        let port = port(&place, several)?;
        numbers.check(&place, port.port.to_string());
        if let Some(name) = &port.name {
            names.check(&place, name.as_str());
        }
        Some(port)
    });
    let address = |place: Place<'_>| place.read(|text| text.parse().ok(), "an IP address");
    let cluster_ip = fields.optional("clusterIP", address);
    // The one type that means the same everywhere; copied manifests have it.
    fields.optional("type", |place| place.word(&["ClusterIP"]));
    fields.finish();
    Some(ServiceSpec {
        selector,
        ports,
        cluster_ip,
    })
}

fn port(place: &Place<'_>, several: bool) -> Option<ServicePort> {
    let mut fields = place.fields()?;
    let name = if several {
        fields.required("name", |place| place.parse())
    } else {
        fields.optional("name", |place| place.parse())
    };
    let port = fields.required("port", |place| place.number::<Port>());
    let target_port = fields.optional("targetPort", |place| place.number());
    let app_protocol = fields.optional("appProtocol", |place| place.choice());
    let protocol = fields
        .optional("protocol", |place| place.choice())
        .unwrap_or(Transport::Tcp);
    fields.finish();
    Some(ServicePort {
        name,
        port: port?,
        target_port,
        app_protocol,
        protocol,
    })
}

pub(super) fn workload(place: &Place<'_>) -> Option<WorkloadSpec> {
    let mut fields = place.fields()?;
    let service_account = fields.required("serviceAccount", |place| place.parse());
    let weight = fields.optional("weight", |place| place.number());
    let zone = fields.optional("zone", |place| zone(&place));
    let health_check = fields.optional("healthCheck", health_check);
    fields.finish();
    Some(WorkloadSpec {
        service_account: service_account?,
        weight,
        zone,
        health_check,
    })
}

/// The name of a zone.
pub(super) fn zone(place: &Place<'_>) -> Option<String> {
    let sane =
        |text: &str| (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    place.read(
        |text| sane(text).then(|| text.to_owned()),
        "a zone: 1-63 printable characters",
    )
}

fn health_check(place: Place<'_>) -> Option<HealthCheck> {
    let mut fields = place.fields()?;
    let probe = fields.one_of(&[
        ("http", http_probe),
        ("grpc", grpc_probe),
        ("tcp", tcp_probe),
    ]);
    let interval = fields.optional("interval", positive);
    let timeout = fields.optional("timeout", positive);
    let failure_threshold = fields.optional("failureThreshold", |place| place.integer(1..=100));
    let success_threshold = fields.optional("successThreshold", |place| place.integer(1..=100));
    fields.finish();
    Some(HealthCheck {
        probe: probe?,
        interval,
        timeout,
        failure_threshold,
        success_threshold,
    })
}

fn http_probe(place: Place<'_>) -> Option<HealthProbe> {
    let mut fields = place.fields()?;
    let path = fields.required("path", |place| {
        let absolute =
            |text: &str| text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
        place.read(
            |text| absolute(text).then(|| text.to_owned()),
            "an absolute path: /healthz",
        )
    });
    fields.finish();
    Some(HealthProbe::Http { path: path? })
}

fn grpc_probe(place: Place<'_>) -> Option<HealthProbe> {
    let mut fields = place.fields()?;
    let service = fields.group("service", |place| place.text().map(str::to_owned));
    fields.finish();
    Some(HealthProbe::Grpc { service })
}

fn tcp_probe(place: Place<'_>) -> Option<HealthProbe> {
    place.fields()?.finish();
    Some(HealthProbe::Tcp {})
}
