//! References between objects.

use std::ops::RangeInclusive;

use crate::{
    kind::{
        BackendKind, BackendObject, BackendRef, CoreGroup, GrantFrom, GrantTo, GrpcBackendRef,
        HttpBackendRef, Kind, MESH_NAMESPACE, ParentGroup, ParentKind, ParentRef,
        ReferenceGrantSpec, ServiceRef, TargetKind, TargetRef,
    },
    parse::fields::{Fields, Once},
    parse::place::Place,
    parse::report::Report,
    value::{Name, Weight},
};

use super::{
    backend_tls_policy,
    filter::{self, Prefix},
};

pub(super) fn parents(fields: &mut Fields<'_>) -> Vec<ParentRef> {
    fields.list("parentRefs", 1..=32, |place| parent(&place))
}

fn parent(place: &Place<'_>) -> Option<ParentRef> {
    let mut fields = place.fields()?;
    let group = fields.optional("group", |place| place.choice::<ParentGroup>());
    let kind = fields.optional("kind", |place| place.choice::<ParentKind>());
    // One that is written and wrong has been reported.
    let kind = kind.or_else(|| fields.at("kind").is_none().then_some(ParentKind::Gateway));
    let group = group.or_else(|| {
        let left_out = fields.at("group").is_none();
        left_out.then_some(ParentGroup::GatewayApi)
    });
    if let (Some(group), Some(kind)) = (group, kind)
        && group != kind.group()
    {
        let words = |group: ParentGroup| match group {
            ParentGroup::Core => "\"\"".to_owned(),
            ParentGroup::GatewayApi => group.to_string(),
        };
        let how = match fields.at("group") {
            Some(_) => "",
            None => " (the default)",
        };
        place.wrong::<()>(
            format!("kind {kind} with the group {}{how}", words(group)),
            format!("`group: {}` with `kind: {kind}`", words(kind.group())),
        );
    }
    let namespace = fields.optional("namespace", |place| place.parse());
    let name = fields.required("name", |place| place.parse());
    let port = fields.optional("port", |place| place.number());
    let section_name = fields.optional("sectionName", |place| place.parse());
    fields.finish();
    Some(ParentRef {
        group: group?,
        kind: kind?,
        namespace,
        name: name?,
        port,
        section_name,
    })
}

/// A route's for connections: so many of them.
pub(super) fn stream_backends(
    fields: &mut Fields<'_>,
    count: RangeInclusive<usize>,
) -> Vec<BackendRef> {
    fields.list("backendRefs", count, |place| backend(place.fields()?))
}

/// An HTTPRoute's.
pub(super) fn http_backends(fields: &mut Fields<'_>, prefix: Prefix) -> Vec<HttpBackendRef> {
    fields.list("backendRefs", 0..=16, |place| {
        let mut fields = place.fields()?;
        let filters = filter::http(&mut fields, prefix);
        let backend = backend(fields)?;
        Some(HttpBackendRef { backend, filters })
    })
}

/// A GRPCRoute's.
pub(super) fn grpc_backends(fields: &mut Fields<'_>) -> Vec<GrpcBackendRef> {
    fields.list("backendRefs", 0..=16, |place| {
        let mut fields = place.fields()?;
        let filters = filter::grpc(&mut fields);
        let backend = backend(fields)?;
        Some(GrpcBackendRef { backend, filters })
    })
}

fn backend(mut fields: Fields<'_>) -> Option<BackendRef> {
    let group = fields
        .optional("group", |place| place.choice())
        .unwrap_or(CoreGroup::Core);
    let kind = fields
        .optional("kind", |place| place.choice())
        .unwrap_or(BackendKind::Service);
    let namespace = fields.optional("namespace", |place| place.parse());
    let name = fields.required("name", |place| place.parse());
    let port = fields.required("port", |place| place.number());
    let weight = fields
        .optional("weight", |place| place.number())
        .unwrap_or(Weight::ONE);
    fields.finish();
    Some(BackendRef {
        group,
        kind,
        namespace,
        name: name?,
        port: port?,
        weight,
    })
}

/// Without a weight: there is only one.
pub(super) fn backend_object(place: &Place<'_>) -> Option<BackendObject> {
    let mut fields = place.fields()?;
    let group = fields.optional("group", |place| place.choice());
    let kind = fields.optional("kind", |place| place.choice());
    let namespace = fields.optional("namespace", |place| place.parse());
    let name = fields.required("name", |place| place.parse());
    let port = fields.required("port", |place| place.number());
    fields.finish();
    Some(BackendObject {
        group: group.unwrap_or(CoreGroup::Core),
        kind: kind.unwrap_or(ParentKind::Service),
        namespace,
        name: name?,
        port: port?,
    })
}

/// A ReferenceGrant.
pub(super) fn grant(place: &Place<'_>) -> Option<ReferenceGrantSpec> {
    let mut fields = place.fields()?;
    let spec = ReferenceGrantSpec {
        from: fields.list("from", 1..=16, |place| {
            let mut fields = place.fields()?;
            let (group, kind) = granted(&mut fields);
            let namespace = fields.required("namespace", |place| place.parse());
            fields.finish();
            Some(GrantFrom {
                group: group?,
                kind: kind?,
                namespace: namespace?,
            })
        }),
        to: fields.list("to", 1..=16, |place| {
            let mut fields = place.fields()?;
            let (group, kind) = granted(&mut fields);
            let name = fields.optional("name", |place| place.parse());
            fields.finish();
            Some(GrantTo {
                group: group?,
                kind: kind?,
                name,
            })
        }),
    };
    fields.finish();
    Some(spec)
}

/// Group and kind, of which there are more than this program knows.
fn granted(fields: &mut Fields<'_>) -> (Option<String>, Option<String>) {
    let group = |text: &str| {
        let sane = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        (text.len() <= 253 && text.bytes().all(sane)).then(|| text.to_owned())
    };
    let kind = |text: &str| {
        let sane = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
        (starts && text.len() <= 63 && text.bytes().all(sane)).then(|| text.to_owned())
    };
    let group_of = "an API group: gateway.networking.k8s.io for routes, \"\" for Services";
    (
        fields.required("group", |place| place.read(group, group_of)),
        fields.required("kind", |place| {
            place.read(kind, "a kind: HTTPRoute, Service")
        }),
    )
}

pub(super) fn service(place: Place<'_>) -> Option<ServiceRef> {
    let mut fields = place.fields()?;
    let namespace = fields.optional("namespace", |place| place.parse());
    let name = fields.required("name", |place| place.parse());
    let port = fields.required("port", |place| place.number());
    fields.finish();
    Some(ServiceRef {
        namespace,
        name: name?,
        port: port?,
    })
}

/// The targets of a policy of `namespace`, each of a kind in `kinds`.
pub(super) fn targets(
    fields: &mut Fields<'_>,
    kinds: &[TargetKind],
    namespace: Option<&Name>,
) -> Vec<TargetRef> {
    let mut once = Once::default();
    fields.list("targetRefs", 1..=16, |place| {
        let target = target(&place, kinds, namespace)?;
        if !kinds.contains(&target.kind) {
            let allowed: Vec<_> = kinds.iter().map(ToString::to_string).collect();
            return place.wrong(
                format!("a target of kind `{}`", target.kind),
                allowed.join(", "),
            );
        }
        let section = target.section_name.as_ref().map_or("", Name::as_str);
        once.check(
            &place,
            format!("{} {} {section}", target.kind, target.name).trim_end(),
        );
        Some(target)
    })
}

fn target(place: &Place<'_>, kinds: &[TargetKind], namespace: Option<&Name>) -> Option<TargetRef> {
    let mut fields = place.fields()?;
    let kind = fields.required("kind", |place| place.choice::<TargetKind>());
    if let (Some(TargetKind::Mesh), Some(own)) = (kind, namespace)
        && own.as_str() != MESH_NAMESPACE
        && let Some(place) = fields.at("kind")
    {
        let found = format!("`Mesh`, in a policy of the namespace `{own}`");
        let allowed =
            "a target in the policy's own namespace; a policy for the whole mesh lives in";
        place.wrong::<()>(found, format!("{allowed} `{MESH_NAMESPACE}`"));
    }
    let group = fields.at("group");
    if let (Some(group), Some(kind)) = (group, kind) {
        group.word(&[kind.group()]);
    }
    let name = fields.required("name", |place| place.parse::<Name>());
    if let (Some(TargetKind::Namespace), Some(name), Some(own)) = (kind, &name, namespace)
        && name != own
        && let Some(place) = fields.at("name")
    {
        place.wrong::<()>(
            format!("`{name}`"),
            format!("`{own}`: a policy speaks for its own namespace only"),
        );
    }
    let section_name = fields.optional("sectionName", |place| match kind {
        Some(TargetKind::HttpRoute | TargetKind::GrpcRoute) | None => place.parse(),
        // What is spoken on one port is spoken on it alone; of everything else a service is one.
        Some(TargetKind::Service) if *kinds == backend_tls_policy::TARGETS => place.parse(),
        Some(kind) => place.wrong("a sectionName", format!("none: a {kind} has no sections")),
    });
    fields.finish();
    Some(TargetRef {
        kind: kind?,
        name: name?,
        section_name,
    })
}

/// What a policy was meant for, whatever is wrong with it: the targets that can be read, and as soon as one cannot,
/// all that the policy could have been attached to.
pub(super) fn meant_targets(
    spec: Option<&Place<'_>>,
    kind: Kind,
    namespace: &Name,
) -> Vec<TargetRef> {
    let kinds: &[TargetKind] = match kind {
        Kind::AccessPolicy => &super::access_policy::TARGETS,
        Kind::AuthenticationPolicy => &super::authentication_policy::TARGETS,
        Kind::TrafficPolicy => &super::traffic_policy::TARGETS,
        Kind::BackendTlsPolicy => &backend_tls_policy::TARGETS,
        Kind::FaultPolicy => &super::fault_policy::TARGETS,
        Kind::RateLimitPolicy => &super::rate_limit_policy::TARGETS,
        _ => return Vec::new(),
    };
    let silent = Report::default();
    let own = Some(namespace);
    let spec = spec.map(|spec| spec.silently(&silent));
    let mut meant = match spec.as_ref().and_then(Place::fields) {
        Some(mut fields) => targets(&mut fields, kinds, own),
        None => Vec::new(),
    };
    meant.retain(|target| match target.kind {
        TargetKind::Mesh => namespace.as_str() == MESH_NAMESPACE,
        TargetKind::Namespace => target.name == *namespace,
        TargetKind::Service
        | TargetKind::Gateway
        | TargetKind::HttpRoute
        | TargetKind::GrpcRoute => true,
    });
    if meant.is_empty() || !silent.is_empty() {
        let kind = match namespace.as_str() {
            MESH_NAMESPACE if kind != Kind::BackendTlsPolicy => TargetKind::Mesh,
            _ => TargetKind::Namespace,
        };
        meant.push(TargetRef {
            kind,
            name: namespace.clone(),
            section_name: None,
        });
    }
    meant
}
