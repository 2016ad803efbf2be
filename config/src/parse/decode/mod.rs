//! Trees → kinds: one function per struct, each asking for its fields and adding the kind's own checks.

mod access_policy;
mod authentication_policy;
mod backend_tls_policy;
mod config_map;
mod endpoint_slice;
mod filter;
mod fault_policy;
mod foreign;
mod load_balancer;
mod gateway;
mod mesh;
mod rate_limit_policy;
mod reference;
mod resilience;
mod route;
mod service;
mod traffic_policy;

use std::collections::BTreeMap;

use crate::{
    kind::{Choice, Kind, Metadata, Object, ObjectKey, Resource, TargetRef},
    value::{Name, Timespan},
};

use super::fields::Fields;
use super::place::Place;
use super::report::Report;

/// What a document turned out to be.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// It is none of ours: what is reported are warnings.
    pub(super) is_foreign: bool,
    /// What it calls itself, however wrong: `HTTPRoute bank/account`.
    pub(super) title: Option<String>,
    /// Who it is, if that much is valid.
    pub(super) key: Option<ObjectKey>,
    /// What it is and where, which may be valid when its name is not.
    pub(super) home: Option<(Kind, Name)>,
    /// The object, if all its parts could be made. Accepted only if the report stayed empty.
    pub(super) object: Option<Object>,
    /// What a policy was meant for; see [`super::Rejected`].
    pub(super) targets: Vec<TargetRef>,
}

/// Decodes one document.
pub(super) fn object(place: &Place<'_>) -> Decoded {
    let Some(mut fields) = place.fields() else {
        return Decoded::default();
    };
    if foreign::is_foreign(place) {
        return Decoded {
            is_foreign: true,
            title: title(place, None),
            ..Decoded::default()
        };
    }
    let kind = fields.required("kind", kind);
    if let Some(kind) = kind {
        fields.required("apiVersion", |place| place.word(kind.api_versions()));
    } else {
        fields.required("apiVersion", Some);
    }
    let has_spec = kind.is_none_or(Kind::has_spec);
    let spec = if has_spec { fields.at("spec") } else { None };
    let title = title(place, kind);
    let metadata = fields.required("metadata", |place| metadata(&place, kind));
    if kind.is_none() {
        // Without a kind, no spec can be read: its mistakes come once the kind is right.
        fields.finish_unread();
        return Decoded {
            title,
            ..Decoded::default()
        };
    }
    let Some(kind) = kind else {
        return Decoded::default();
    };
    let key = metadata.as_ref().map(|metadata| ObjectKey {
        kind,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
    });
    if !has_spec {
        let object = without_spec(kind, metadata, &mut fields);
        fields.finish();
        return Decoded {
            title,
            key,
            home: namespace(place).map(|namespace| (kind, namespace)),
            object,
            ..Decoded::default()
        };
    }
    let spec = spec.or_else(|| fields.required("spec", Some));
    fields.finish();
    let namespace = namespace(place);
    let targets = namespace
        .as_ref()
        .map(|namespace| reference::meant_targets(spec.as_ref(), kind, namespace))
        .unwrap_or_default();
    let object = spec.and_then(|spec| with_spec(kind, metadata, namespace.as_ref(), &spec));
    Decoded {
        is_foreign: false,
        title,
        key,
        home: namespace.map(|namespace| (kind, namespace)),
        object,
        targets,
    }
}

fn put<S>(
    metadata: Option<Metadata>,
    spec: Option<S>,
    object: fn(Resource<S>) -> Object,
) -> Option<Object> {
    Some(object(Resource {
        metadata: metadata?,
        spec: spec?,
    }))
}

/// Of a kind whose fields stand beside its metadata.
fn without_spec(kind: Kind, metadata: Option<Metadata>, fields: &mut Fields<'_>) -> Option<Object> {
    match kind {
        Kind::EndpointSlice => {
            let slice = endpoint_slice::slice(fields);
            put(metadata, slice, Object::EndpointSlice)
        }
        Kind::ConfigMap => put(metadata, config_map::config_map(fields), Object::ConfigMap),
        _ => {
            debug_assert!(kind.has_spec(), "{kind} is decoded nowhere");
            None
        }
    }
}

fn with_spec(
    kind: Kind,
    metadata: Option<Metadata>,
    namespace: Option<&Name>,
    spec: &Place<'_>,
) -> Option<Object> {
    match kind {
        Kind::EndpointSlice | Kind::ConfigMap => None,
        Kind::BackendTlsPolicy => put(
            metadata,
            backend_tls_policy::policy(spec, namespace),
            Object::BackendTlsPolicy,
        ),
        Kind::Mesh => put(metadata, mesh::mesh(spec), Object::Mesh),
        Kind::Service => put(metadata, service::service(spec), Object::Service),
        Kind::Workload => put(metadata, service::workload(spec), Object::Workload),
        Kind::HttpRoute => put(metadata, route::http(spec), Object::HttpRoute),
        Kind::GrpcRoute => put(metadata, route::grpc(spec), Object::GrpcRoute),
        Kind::ReferenceGrant => put(metadata, reference::grant(spec), Object::ReferenceGrant),
        Kind::Gateway => put(metadata, gateway::gateway(spec), Object::Gateway),
        Kind::TlsRoute => put(metadata, gateway::tls_route(spec), Object::TlsRoute),
        Kind::TcpRoute => put(metadata, gateway::tcp_route(spec), Object::TcpRoute),
        Kind::TrafficPolicy => put(
            metadata,
            traffic_policy::policy(spec, namespace),
            Object::TrafficPolicy,
        ),
        Kind::AccessPolicy => put(
            metadata,
            access_policy::policy(spec, namespace),
            Object::AccessPolicy,
        ),
        Kind::AuthenticationPolicy => put(
            metadata,
            authentication_policy::policy(spec, namespace),
            Object::AuthenticationPolicy,
        ),
        Kind::FaultPolicy => put(
            metadata,
            fault_policy::policy(spec, namespace),
            Object::FaultPolicy,
        ),
        Kind::RateLimitPolicy => put(
            metadata,
            rate_limit_policy::policy(spec, namespace),
            Object::RateLimitPolicy,
        ),
    }
}

fn kind(place: Place<'_>) -> Option<Kind> {
    let written = place.clone().text();
    if written == Some("Secret") {
        return place.wrong(
            "`Secret`: private keys have no place in configuration",
            "leave it out, and start the gateway with --certificate NAME=CERT,KEY",
        );
    }
    place.choice()
}

fn kinds() -> String {
    Kind::ALL
        .iter()
        .map(|(word, _)| *word)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Where the object lives, whatever else is wrong with its metadata.
fn namespace(place: &Place<'_>) -> Option<Name> {
    // A report of its own, as in `title`.
    let silent = Report::default();
    let mut fields = place.silently(&silent).fields()?;
    let written = match fields.at("metadata") {
        Some(metadata) => metadata.fields()?.at("namespace"),
        None => None,
    };
    match written {
        Some(place) => place.parse(),
        None => "default".parse().ok(),
    }
}

/// What the document calls itself, whatever is wrong with it.
fn title(place: &Place<'_>, kind: Option<Kind>) -> Option<String> {
    // A report of its own: the questions are asked again, and answered for, by `metadata`.
    let silent = Report::default();
    let mut fields = place.silently(&silent).fields()?;
    let kind = match kind {
        Some(kind) => kind.word().to_owned(),
        None => fields.optional("kind", |place| place.text().map(super::tree::shorten))?,
    };
    let mut metadata = fields.at("metadata").and_then(|place| place.fields());
    let mut text = |name| {
        let metadata = metadata.as_mut()?;
        metadata.optional(name, |place| place.text().map(super::tree::shorten))
    };
    let name = text("name").unwrap_or_else(|| "?".into());
    let namespace = text("namespace").unwrap_or_else(|| "default".into());
    Some(if kind == Kind::Mesh.word() {
        format!("{kind} {name}")
    } else {
        format!("{kind} {namespace}/{name}")
    })
}

fn metadata(place: &Place<'_>, kind: Option<Kind>) -> Option<Metadata> {
    let mut fields = place.fields()?;
    let name = fields.required("name", |place| place.parse::<Name>());
    let written = fields.at("namespace");
    let namespace = match (&written, kind) {
        (Some(place), Some(Kind::Mesh)) => {
            place.wrong("a namespace", "none: a Mesh belongs to no namespace")
        }
        (Some(place), _) => place.parse(),
        (None, _) => "default".parse().ok(),
    };
    let labels = fields.group("labels", |place| labels(&place));
    let annotations = fields.group("annotations", |place| {
        let entries = place.text_map()?;
        Some(
            entries
                .iter()
                .filter_map(|(key, value)| Some(((*key).into(), value.text()?.into())))
                .collect(),
        )
    });
    fields.finish();
    Some(Metadata {
        name: name?,
        namespace: namespace?,
        labels,
        annotations,
    })
}

/// Labels, or a selector of them.
fn labels(place: &Place<'_>) -> Option<BTreeMap<String, String>> {
    const KEY: &str =
        "a label's key: [prefix/]name, the name 1-63 of letters, digits, `-`, `_`, `.`";
    const VALUE: &str = "a label's value: at most 63 of letters, digits, `-`, `_`, `.`";
    let entries = place.text_map()?;
    if entries.len() > 64 {
        place.wrong::<()>(format!("{} labels", entries.len()), "at most 64");
    }
    let mut labels = BTreeMap::new();
    for (key, value) in entries.into_iter().take(64) {
        let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
        if name.is_empty() || !is_label_text(name) || prefix.len() > 253 {
            value.wrong::<()>(format!("the key `{}`", super::tree::shorten(key)), KEY);
        }
        if let Some(value) = value.read(|text| is_label_text(text).then(|| text.to_owned()), VALUE)
        {
            labels.insert(key.to_owned(), value);
        }
    }
    Some(labels)
}

fn is_label_text(text: &str) -> bool {
    text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A length of time that is not zero.
fn positive(place: Place<'_>) -> Option<Timespan> {
    let timespan: Timespan = place.parse()?;
    if timespan.0.is_zero() {
        place.wrong("`0s`", "more than nothing")
    } else {
        Some(timespan)
    }
}

/// Reports `small` if it is more than `large`, where both are written.
fn at_most(
    fields: &mut Fields<'_>,
    small: (&'static str, Option<Timespan>),
    large: (&str, Option<Timespan>),
) {
    if let (Some(less), Some(more)) = (small.1, large.1)
        && less > more
        && let Some(place) = fields.at(small.0)
    {
        let text = crate::value::format_duration(less.0);
        let limit = crate::value::format_duration(more.0);
        place.wrong::<()>(
            format!("`{text}`"),
            format!("at most `{}` ({limit})", large.0),
        );
    }
}
