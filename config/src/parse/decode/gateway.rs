//! `Gateway`, and the routes for connections: `TLSRoute` and `TCPRoute`.

use std::collections::HashMap;

use crate::{
    kind::{
        AllowedRoutes, CertificateRef, Choice as _, CoreGroup, FromNamespaces, GatewayGroup,
        GatewaySpec, Listener, ListenerProtocol, ListenerTls, NamespaceSelector, RouteGroupKind,
        RouteKind, RouteNamespaces, SecretKind, SelectorExpression, SelectorOperator, StreamRule,
        TcpRouteSpec, TlsMode, TlsRouteSpec,
    },
    parse::fields::{Fields, Once},
    parse::place::Place,
    value::Port,
};

use super::{labels, reference};

/// Upstream's bound.
const LISTENERS_MAX: usize = 64;

pub(super) fn gateway(place: &Place<'_>) -> Option<GatewaySpec> {
    let mut fields = place.fields()?;
    for later in [
        "addresses",
        "allowedListeners",
        "defaultScope",
        "infrastructure",
        "tls",
    ] {
        fields.unsupported(later);
    }
    let gateway_class_name = fields.required("gatewayClassName", |place| place.choice());
    let (mut names, mut matches) = (Once::default(), Once::default());
    let mut spoken: HashMap<Port, ListenerProtocol> = HashMap::new();
    let listeners = fields.list("listeners", 1..=LISTENERS_MAX, |place| {
        let listener = listener(&place)?;
        names.check(&place, listener.name.as_str());
        let first = *spoken.entry(listener.port).or_insert(listener.protocol);
        if family(first) != family(listener.protocol) {
            let (port, protocol) = (listener.port, listener.protocol);
            return place.wrong(
                format!(
                    "protocol {protocol} on port {port}, where another listener speaks {first}"
                ),
                "one protocol on each port; HTTPS and TLS may share one",
            );
        }
        let host = listener.hostname.as_ref().map_or("*", |host| host.as_str());
        matches.check(
            &place,
            format!("port {} with hostname {host}", listener.port),
        );
        Some(listener)
    });
    fields.finish();
    Some(GatewaySpec {
        gateway_class_name: gateway_class_name?,
        listeners,
    })
}

/// Protocols that can be told apart on one port only by host name are one.
fn family(protocol: ListenerProtocol) -> ListenerProtocol {
    match protocol {
        ListenerProtocol::Https => ListenerProtocol::Tls,
        other => other,
    }
}

fn listener(place: &Place<'_>) -> Option<Listener> {
    let mut fields = place.fields()?;
    let name = fields.required("name", |place| place.parse());
    let hostname = fields.optional("hostname", |place| place.parse());
    let port = fields.required("port", |place| place.number());
    let protocol = fields.required("protocol", |place| place.choice::<ListenerProtocol>());
    if protocol == Some(ListenerProtocol::Tcp)
        && let Some(place) = fields.at("hostname")
    {
        place.wrong::<()>("a hostname", "none: TCP connections name no host");
    }
    let tls = tls(&mut fields, protocol);
    let allowed_routes = fields.group("allowedRoutes", allowed_routes);
    let kinds = fields.at("allowedRoutes");
    fields.finish();
    let listener = Listener {
        name: name?,
        hostname,
        port: port?,
        protocol: protocol?,
        tls,
        allowed_routes,
    };
    carried_kinds(&listener, kinds);
    Some(listener)
}

/// Each kind that is allowed must be one that can attach.
fn carried_kinds(listener: &Listener, allowed: Option<Place<'_>>) {
    let mut fields = allowed.and_then(|place| place.fields());
    let listed = fields.as_mut().and_then(|fields| fields.at("kinds"));
    let carried = listener.route_kinds();
    for (allowed, index) in listener.allowed_routes.kinds.iter().zip(0..) {
        if let Some(place) = &listed
            && !carried.contains(&allowed.kind)
        {
            let words: Vec<&str> = carried.iter().map(|kind| kind.word()).collect();
            let found = format!(
                "{} at [{index}], with protocol {}",
                allowed.kind, listener.protocol
            );
            place.wrong::<()>(found, words.join(", "));
        }
    }
}

fn tls(fields: &mut Fields<'_>, protocol: Option<ListenerProtocol>) -> Option<ListenerTls> {
    match protocol {
        Some(protocol @ (ListenerProtocol::Http | ListenerProtocol::Tcp)) => {
            fields.optional("tls", |place| {
                place.wrong(
                    format!("tls, with protocol {protocol}"),
                    "none; protocol HTTPS or TLS has it",
                )
            })
        }
        Some(protocol) => fields.required("tls", |place| listener_tls(&place, protocol)),
        None => fields.optional("tls", |place| listener_tls(&place, ListenerProtocol::Tls)),
    }
}

fn listener_tls(place: &Place<'_>, protocol: ListenerProtocol) -> Option<ListenerTls> {
    let mut fields = place.fields()?;
    for later in ["options", "frontendValidation"] {
        fields.unsupported(later);
    }
    let written = fields.at("mode").is_some();
    let mode = fields.optional("mode", |place| match place.choice()? {
        TlsMode::Passthrough if protocol == ListenerProtocol::Https => place.wrong(
            "Passthrough, with protocol HTTPS",
            "Terminate; TLS that is passed on has protocol TLS",
        ),
        mode => Some(mode),
    });
    let count = match mode {
        // One that is wrong has been reported; what it should have been is not known.
        None if written => 0..=64,
        None | Some(TlsMode::Terminate) => 1..=64,
        Some(TlsMode::Passthrough) => 0..=0,
    };
    let mode = mode.unwrap_or(TlsMode::Terminate);
    let certificate_refs = fields.list("certificateRefs", count, |place| certificate(&place));
    fields.finish();
    Some(ListenerTls {
        mode,
        certificate_refs,
    })
}

fn certificate(place: &Place<'_>) -> Option<CertificateRef> {
    let mut fields = place.fields()?;
    let group = fields
        .optional("group", |place| place.choice())
        .unwrap_or(CoreGroup::Core);
    let kind = fields
        .optional("kind", |place| place.choice())
        .unwrap_or(SecretKind::Secret);
    let namespace = fields.optional("namespace", |place| place.parse());
    let name = fields.required("name", |place| place.parse());
    fields.finish();
    Some(CertificateRef {
        group,
        kind,
        namespace,
        name: name?,
    })
}

fn allowed_routes(place: Place<'_>) -> Option<AllowedRoutes> {
    let mut fields = place.fields()?;
    let allowed = AllowedRoutes {
        namespaces: fields.group("namespaces", namespaces),
        kinds: fields.list("kinds", 0..=8, |place| {
            let mut fields = place.fields()?;
            let group = fields
                .optional("group", |place| place.choice())
                .unwrap_or(GatewayGroup::GatewayApi);
            let kind = fields.required("kind", |place| place.choice::<RouteKind>());
            fields.finish();
            Some(RouteGroupKind { group, kind: kind? })
        }),
    };
    fields.finish();
    Some(allowed)
}

fn namespaces(place: Place<'_>) -> Option<RouteNamespaces> {
    let mut fields = place.fields()?;
    let from = fields.optional("from", |place| place.choice());
    let selector = match from {
        Some(FromNamespaces::Selector) => fields.required("selector", selector),
        _ => fields.optional("selector", |place| {
            place.wrong("a selector", "none, unless `from` is Selector")
        }),
    };
    fields.finish();
    Some(RouteNamespaces { from, selector })
}

fn selector(place: Place<'_>) -> Option<NamespaceSelector> {
    let mut fields = place.fields()?;
    let selector = NamespaceSelector {
        match_labels: fields.group("matchLabels", |place| labels(&place)),
        match_expressions: fields.list("matchExpressions", 0..=16, expression),
    };
    fields.finish();
    Some(selector)
}

fn expression(place: Place<'_>) -> Option<SelectorExpression> {
    let mut fields = place.fields()?;
    let key = fields.required("key", |place| place.text().map(str::to_owned));
    let operator = fields.required("operator", |place| place.choice());
    let count = match operator {
        Some(SelectorOperator::In | SelectorOperator::NotIn) => 1..=64,
        Some(SelectorOperator::Exists | SelectorOperator::DoesNotExist) => 0..=0,
        None => 0..=64,
    };
    let values = fields.list("values", count, |place| place.text().map(str::to_owned));
    fields.finish();
    Some(SelectorExpression {
        key: key?,
        operator: operator?,
        values,
    })
}

pub(super) fn tls_route(place: &Place<'_>) -> Option<TlsRouteSpec> {
    let mut fields = place.fields()?;
    fields.unsupported("useDefaultGateways");
    let parent_refs = reference::parents(&mut fields);
    let hostnames = fields.list("hostnames", 1..=16, |place| place.parse());
    let rules = fields.list("rules", 1..=1, |place| stream_rule(&place));
    fields.finish();
    Some(TlsRouteSpec {
        parent_refs,
        hostnames,
        rules,
    })
}

pub(super) fn tcp_route(place: &Place<'_>) -> Option<TcpRouteSpec> {
    let mut fields = place.fields()?;
    fields.unsupported("useDefaultGateways");
    let parent_refs = reference::parents(&mut fields);
    let rules = fields.list("rules", 1..=1, |place| stream_rule(&place));
    fields.finish();
    Some(TcpRouteSpec { parent_refs, rules })
}

fn stream_rule(place: &Place<'_>) -> Option<StreamRule> {
    let mut fields = place.fields()?;
    let name = fields.optional("name", |place| place.parse());
    let backend_refs = reference::stream_backends(&mut fields, 1..=16);
    fields.finish();
    Some(StreamRule { name, backend_refs })
}
