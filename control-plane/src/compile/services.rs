//! A Service and the Workloads behind it → what callers and its own instances are told.

use std::{collections::BTreeSet, sync::Arc};

use usher_config::{
    kind::{self, AppProtocol},
    model::{
        AccessLogMode, BackendTls, HealthCheck, HealthProbe, InboundPolicy, MtlsMode,
        OutboundTraffic, Protocol, Service, ServicePort, Telemetry, Timeouts,
    },
    value::{EmptySegments, Name, PathParameters, PathReading, ServiceName, SpiffeId, Weight},
};

use super::{
    Backing, Finding, access, authentication, faults,
    index::Index,
    rate_limits,
    routes::Attached,
    targets::{Target, Targets},
    traffic,
};

/// Who may be an instance: the service accounts of the Workloads that the selector takes.
pub(super) fn backing(index: &Index<'_>, service: &kind::Service) -> Vec<Backing> {
    let mut all: Vec<Backing> = Vec::new();
    for workload in index.selected(service) {
        let account = &workload.spec.service_account;
        if all
            .iter()
            .any(|backing| backing.service_account == *account)
        {
            continue;
        }
        all.push(backing_of(index, workload));
    }
    all
}

/// Who a workload's instances are.
pub(super) fn backing_of(index: &Index<'_>, workload: &kind::Workload) -> Backing {
    let account = workload.spec.service_account.clone();
    let namespace = workload.metadata.namespace.clone();
    Backing {
        identity: SpiffeId::new(index.trust_domain.clone(), namespace, account.clone()),
        service_account: account,
        weight: workload.spec.weight.unwrap_or(Weight::ONE),
        zone: workload.spec.zone.clone().unwrap_or_default(),
    }
}

/// Every account that some workload runs as.
pub(super) fn accounts(index: &Index<'_>) -> BTreeSet<(Name, Name)> {
    let account = |workload: &&kind::Workload| {
        let namespace = workload.metadata.namespace.clone();
        (namespace, workload.spec.service_account.clone())
    };
    index.workloads.iter().map(account).collect()
}

/// The name under which a workload that only calls asks for what concerns it: its own.
pub(super) fn caller_name(workload: &kind::Workload) -> ServiceName {
    let kind::Metadata {
        namespace, name, ..
    } = &workload.metadata;
    ServiceName {
        namespace: namespace.clone(),
        name: name.clone(),
    }
}

/// What a workload that only calls is told about itself: it has no port that anybody could ask for.
pub(super) fn caller_inbound(
    index: &Index<'_>,
    workload: &kind::Workload,
    service: ServiceName,
) -> InboundPolicy {
    InboundPolicy {
        service,
        mtls: MtlsMode::Strict,
        ports: Vec::new(),
        authentication: None,
        claim_headers: Vec::new(),
        gateways: Vec::new(),
        access: Vec::new(),
        rate_limits: Vec::new(),
        health_check: None,
        telemetry: telemetry(&index.mesh.telemetry),
        idle: Timeouts::default().idle,
        zone: workload.spec.zone.clone().unwrap_or_default(),
        outbound: outbound(index),
        path_reading: path_reading(index),
    }
}

/// What paths mean: one reading for the whole mesh, so that all who look at a path see the same.
pub(super) fn path_reading(index: &Index<'_>) -> PathReading {
    PathReading {
        empty_segments: match index.mesh.empty_segments {
            Some(kind::EmptySegments::Keep) => EmptySegments::Keep,
            Some(kind::EmptySegments::Merge) | None => EmptySegments::Merge,
        },
        parameters: match index.mesh.path_parameters {
            Some(kind::PathParameters::Keep) => PathParameters::Keep,
            Some(kind::PathParameters::Refuse) | None => PathParameters::Refuse,
        },
    }
}

/// Where intercepted connections may go: one rule for the whole mesh.
fn outbound(index: &Index<'_>) -> OutboundTraffic {
    match index.mesh.outbound_traffic {
        Some(kind::OutboundTraffic::RegistryOnly) => OutboundTraffic::RegistryOnly,
        Some(kind::OutboundTraffic::PassThroughUnknown) => OutboundTraffic::PassThroughUnknown,
        Some(kind::OutboundTraffic::PassThrough) | None => OutboundTraffic::PassThrough,
    }
}

/// The workloads that the selector takes.
pub(super) fn workloads(index: &Index<'_>, service: &kind::Service) -> Vec<kind::ObjectKey> {
    let key = |workload: &kind::Workload| kind::ObjectKey {
        kind: kind::Kind::Workload,
        namespace: workload.metadata.namespace.clone(),
        name: workload.metadata.name.clone(),
    };
    index.selected(service).map(key).collect()
}

/// The zone of all of them, if it is one.
fn zone<'a>(workloads: impl Iterator<Item = &'a kind::Workload>) -> String {
    let mut zones = workloads.map(|workload| workload.spec.zone.as_deref());
    let first = zones.next().flatten();
    let same = zones.all(|zone| zone == first);
    first.filter(|_| same).unwrap_or_default().to_owned()
}

/// As callers see it.
pub(super) fn service(
    index: &Index<'_>,
    targets: &Targets<'_>,
    service: &kind::Service,
    backing: &[Backing],
    attached: Attached,
) -> Service {
    let name = service.full_name();
    let address = service
        .spec
        .cluster_ip
        .or_else(|| index.addresses.get(&name).copied());
    Service {
        virtual_addresses: address.into_iter().collect(),
        ports: (service.spec.ports.iter())
            .filter_map(|port| declared(port, targets.backend_tls(index, service, port)))
            .collect(),
        identities: backing
            .iter()
            .map(|backing| backing.identity.clone())
            .collect(),
        policy: traffic::resolve(
            index,
            &traffic::layers_of_service(targets, &name),
            faults::fault(targets, &[Target::Service(name.clone())]),
        ),
        routes: attached.routes,
        streams: attached.streams,
        name,
    }
}

/// As it protects itself.
pub(super) fn inbound(
    index: &Index<'_>,
    targets: &Targets<'_>,
    service: &kind::Service,
    findings: &mut Vec<Finding>,
) -> InboundPolicy {
    let name = service.full_name();
    let access = access::access(index, targets, &name, findings);
    let health_check = index
        .selected(service)
        .find_map(|workload| workload.spec.health_check.as_ref());
    let authentication = authentication::of_service((index, targets), &name, findings);
    InboundPolicy {
        mtls: match index.still_permissive.contains_key(&name) {
            true => MtlsMode::Permissive,
            false => access.mtls,
        },
        ports: service
            .spec
            .ports
            .iter()
            .map(|port| (port.port, protocol(port.app_protocol)))
            .collect(),
        authentication,
        claim_headers: index.claim_headers.clone(),
        // Known once everything is compiled.
        gateways: Vec::new(),
        access: access.policies,
        rate_limits: rate_limits::of_service(targets, &name),
        health_check: health_check.map(check),
        telemetry: telemetry(&index.mesh.telemetry),
        idle: traffic::resolve(index, &traffic::layers_of_service(targets, &name), None)
            .timeouts
            .idle,
        outbound: outbound(index),
        path_reading: path_reading(index),
        zone: zone(index.selected(service)),
        service: name,
    }
}

/// `None` cannot be: every protocol's word is a name.
fn declared(port: &kind::ServicePort, tls: Option<BackendTls>) -> Option<ServicePort> {
    let protocol = protocol(port.app_protocol);
    let word = match protocol {
        Protocol::Detect => "detect",
        Protocol::Http1 => "http",
        Protocol::Http2 => "http2",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
    };
    let name: Name = port.name.clone().or_else(|| word.parse().ok())?;
    Some(ServicePort {
        name,
        port: port.port,
        protocol,
        tls: tls.map(Arc::new),
    })
}

fn protocol(declared: Option<AppProtocol>) -> Protocol {
    match declared {
        None => Protocol::Detect,
        Some(AppProtocol::Http) => Protocol::Http1,
        Some(AppProtocol::Http2) => Protocol::Http2,
        Some(AppProtocol::Grpc) => Protocol::Grpc,
        Some(AppProtocol::Tcp | AppProtocol::Tls) => Protocol::Tcp,
    }
}

fn check(written: &kind::HealthCheck) -> HealthCheck {
    let base = HealthCheck::default();
    HealthCheck {
        probe: match &written.probe {
            kind::HealthProbe::Http { path } => HealthProbe::Http { path: path.clone() },
            kind::HealthProbe::Grpc { service } => HealthProbe::Grpc {
                service: service.clone(),
            },
            kind::HealthProbe::Tcp {} => HealthProbe::Tcp,
        },
        interval: written.interval.map_or(base.interval, Into::into),
        timeout: written.timeout.map_or(base.timeout, Into::into),
        failure_threshold: written.failure_threshold.unwrap_or(base.failure_threshold),
        success_threshold: written.success_threshold.unwrap_or(base.success_threshold),
    }
}

fn telemetry(written: &kind::Telemetry) -> Telemetry {
    let base = Telemetry::default();
    Telemetry {
        access_log: match written.access_log.mode {
            None => base.access_log,
            Some(kind::AccessLogMode::All) => AccessLogMode::All,
            Some(kind::AccessLogMode::Errors) => AccessLogMode::Errors,
            Some(kind::AccessLogMode::Off) => AccessLogMode::Off,
        },
        access_log_sample: written
            .access_log
            .sample_percent
            .unwrap_or(base.access_log_sample),
        trace_sample: written.tracing.sample_percent.unwrap_or(base.trace_sample),
    }
}
