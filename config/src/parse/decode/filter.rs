//! Filters of routes: each with the one field that its type names, and the rules between them.

use http::HeaderName;

use crate::{
    kind::{
        Choice, Cors, Fraction, GrpcFilter, GrpcFilterType, HeaderModifier, HttpFilter,
        HttpFilterType, HttpMethod, ModifiedHeader, PathModifier, PathModifierType, RequestMirror,
        RequestRedirect, UrlRewrite, reserved_header,
    },
    parse::fields::{Fields, Once},
    parse::place::Place,
    parse::position::Position,
    value::{Hostname, OriginPattern},
};

use super::{
    reference,
    route::{is_plain_path, normal_path},
};

/// Upstream's bound.
const FILTERS_MAX: usize = 16;

/// Which part of the path a rule's `ReplacePrefixMatch` could replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// That of the rule's only match.
    Sole,
    /// There is not exactly one match, of type PathPrefix.
    None,
}

/// The fields that hold a filter.
const PAYLOADS: [&str; 6] = [
    "requestHeaderModifier",
    "responseHeaderModifier",
    "requestMirror",
    "requestRedirect",
    "urlRewrite",
    "cors",
];

/// Those of an HTTPRoute's rule, or of one backend.
pub(super) fn http(fields: &mut Fields<'_>, prefix: Prefix) -> Vec<HttpFilter> {
    let mut once = Once::default();
    let mut way: Option<(HttpFilterType, Position)> = None;
    fields.list("filters", 0..=FILTERS_MAX, |place| {
        let filter = http_filter(&place, prefix)?;
        let kind = filter.kind();
        if kind != HttpFilterType::RequestMirror {
            once.check(&place, kind.word());
        }
        if matches!(
            kind,
            HttpFilterType::RequestRedirect | HttpFilterType::UrlRewrite
        ) {
            match way {
                Some((other, position)) if other != kind => place.report.add_related(
                    place.node.position,
                    place.path.clone(),
                    (
                        format!("`{kind}` beside `{other}`"),
                        "one of the two: what is redirected is not forwarded".to_owned(),
                    ),
                    (position, "the other filter"),
                ),
                _ => way = Some((kind, place.node.position)),
            }
        }
        Some(filter)
    })
}

fn http_filter(place: &Place<'_>, prefix: Prefix) -> Option<HttpFilter> {
    use HttpFilterType as Type;
    let mut fields = place.fields()?;
    let kind = fields.required("type", filter_type::<HttpFilterType>);
    fields.unsupported("extensionRef");
    fields.unsupported("externalAuth");
    let own = match kind? {
        Type::RequestHeaderModifier => "requestHeaderModifier",
        Type::ResponseHeaderModifier => "responseHeaderModifier",
        Type::RequestMirror => "requestMirror",
        Type::RequestRedirect => "requestRedirect",
        Type::UrlRewrite => "urlRewrite",
        Type::Cors => "cors",
    };
    others(&mut fields, own, &PAYLOADS);
    let filter = match kind? {
        Type::RequestHeaderModifier => {
            let filter = fields.required(own, modifier);
            filter.map(HttpFilter::RequestHeaderModifier)
        }
        Type::ResponseHeaderModifier => {
            let filter = fields.required(own, modifier);
            filter.map(HttpFilter::ResponseHeaderModifier)
        }
        Type::RequestMirror => fields.required(own, mirror).map(HttpFilter::RequestMirror),
        Type::RequestRedirect => {
            let filter = fields.required(own, |place| redirect(&place, prefix));
            filter.map(HttpFilter::RequestRedirect)
        }
        Type::UrlRewrite => {
            let filter = fields.required(own, |place| rewrite(&place, prefix));
            filter.map(HttpFilter::UrlRewrite)
        }
        Type::Cors => fields
            .required(own, |place| cors(&place))
            .map(HttpFilter::Cors),
    };
    fields.finish();
    filter
}

/// Those of a GRPCRoute's rule, or of one backend.
pub(super) fn grpc(fields: &mut Fields<'_>) -> Vec<GrpcFilter> {
    let mut once = Once::default();
    fields.list("filters", 0..=FILTERS_MAX, |place| {
        let filter = grpc_filter(&place)?;
        if filter.kind() != GrpcFilterType::RequestMirror {
            once.check(&place, filter.kind().word());
        }
        Some(filter)
    })
}

fn grpc_filter(place: &Place<'_>) -> Option<GrpcFilter> {
    use GrpcFilterType as Type;
    const HELD: [&str; 3] = [PAYLOADS[0], PAYLOADS[1], PAYLOADS[2]];
    let mut fields = place.fields()?;
    let kind = fields.required("type", filter_type::<GrpcFilterType>);
    fields.unsupported("extensionRef");
    let own = match kind? {
        Type::RequestHeaderModifier => "requestHeaderModifier",
        Type::ResponseHeaderModifier => "responseHeaderModifier",
        Type::RequestMirror => "requestMirror",
    };
    others(&mut fields, own, &HELD);
    let filter = match kind? {
        Type::RequestHeaderModifier => {
            let filter = fields.required(own, modifier);
            filter.map(GrpcFilter::RequestHeaderModifier)
        }
        Type::ResponseHeaderModifier => {
            let filter = fields.required(own, modifier);
            filter.map(GrpcFilter::ResponseHeaderModifier)
        }
        Type::RequestMirror => fields.required(own, mirror).map(GrpcFilter::RequestMirror),
    };
    fields.finish();
    filter
}

/// The type, where it is one that this version has.
fn filter_type<C: Choice>(place: Place<'_>) -> Option<C> {
    match place.clone().text() {
        Some(word @ "ExtensionRef") => place.wrong(
            format!("`{word}`"),
            "a filter of the specification itself: nothing extends routes here; timeouts, retries, breakers and access are TrafficPolicy and AccessPolicy, which target the route",
        ),
        Some(word @ "ExternalAuth") => place.wrong(
            format!("`{word}`"),
            "leave it out: this version of Usher does not support it yet",
        ),
        _ => place.choice(),
    }
}

/// Reports the fields of other types.
fn others(fields: &mut Fields<'_>, own: &str, payloads: &[&'static str]) {
    for name in payloads.iter().filter(|name| **name != own) {
        if let Some(place) = fields.at(name) {
            let found = format!("`{name}`, which this type of filter does not have");
            place.wrong::<()>(found, format!("only `{own}` beside `type`"));
        }
    }
}

fn modifier(place: Place<'_>) -> Option<HeaderModifier> {
    let mut fields = place.fields()?;
    let mut once = Once::default();
    let remove = fields.list("remove", 0..=16, |place| {
        let name = modifiable(&place)?;
        once.check(&place, name.as_str());
        Some(name)
    });
    let modifier = HeaderModifier {
        set: modified(&mut fields, "set"),
        add: modified(&mut fields, "add"),
        remove,
    };
    fields.finish();
    Some(modifier)
}

fn modified(fields: &mut Fields<'_>, field: &'static str) -> Vec<ModifiedHeader> {
    let mut once = Once::default();
    fields.list(field, 0..=16, |place| {
        let mut fields = place.fields()?;
        let name = fields.required("name", |place| modifiable(&place));
        let value = fields.required("value", |place| place.parse());
        fields.finish();
        let name = name?;
        once.check(&place, name.as_str());
        Some(ModifiedHeader {
            name,
            value: value?,
        })
    })
}

/// A header that a modifier may touch.
fn modifiable(place: &Place<'_>) -> Option<HeaderName> {
    let name = super::route::header_name(place)?;
    match reserved_header(name.as_str()) {
        Some(why) => place.wrong(
            format!("`{name}`"),
            format!("a header that is the route's to change: {why}"),
        ),
        None => Some(name),
    }
}

fn mirror(place: Place<'_>) -> Option<RequestMirror> {
    let mut fields = place.fields()?;
    let backend_ref = fields.required("backendRef", |place| reference::backend_object(&place));
    let percent = fields.optional("percent", |place| place.number());
    let fraction = fields.optional("fraction", fraction);
    let both = fields.at("percent").is_some() && fields.at("fraction").is_some();
    if both {
        place.wrong::<()>("both `percent` and `fraction`", "at most one of them");
    }
    fields.finish();
    Some(RequestMirror {
        backend_ref: backend_ref?,
        percent,
        fraction,
    })
}

fn fraction(place: Place<'_>) -> Option<Fraction> {
    const MOST: u32 = i32::MAX.unsigned_abs();
    let mut fields = place.fields()?;
    let numerator = fields.required("numerator", |place| place.integer(0..=MOST));
    let denominator = fields.optional("denominator", |place| place.integer(1..=MOST));
    if let Some(numerator) = numerator
        && numerator > denominator.unwrap_or(100)
        && let Some(place) = fields.at("numerator")
    {
        let most = denominator.unwrap_or(100);
        place.wrong::<()>(
            format!("`{numerator}`"),
            format!("at most `denominator` ({most})"),
        );
    }
    fields.finish();
    Some(Fraction {
        numerator: numerator?,
        denominator,
    })
}

fn redirect(place: &Place<'_>, prefix: Prefix) -> Option<RequestRedirect> {
    const CODES: [u32; 5] = [301, 302, 303, 307, 308];
    let mut fields = place.fields()?;
    let filter = RequestRedirect {
        scheme: fields.optional("scheme", |place| place.choice()),
        hostname: fields.optional("hostname", precise),
        path: fields.optional("path", |place| path(&place, prefix)),
        port: fields.optional("port", |place| place.number()),
        status_code: fields.optional("statusCode", |place| {
            let code = place.integer(300..=399)?;
            match u16::try_from(code) {
                Ok(number) if CODES.contains(&code) => Some(number),
                _ => place.wrong(format!("`{code}`"), "301, 302, 303, 307, 308"),
            }
        }),
    };
    fields.finish();
    Some(filter)
}

fn rewrite(place: &Place<'_>, prefix: Prefix) -> Option<UrlRewrite> {
    let mut fields = place.fields()?;
    let filter = UrlRewrite {
        hostname: fields.optional("hostname", precise),
        path: fields.optional("path", |place| path(&place, prefix)),
    };
    fields.finish();
    Some(filter)
}

fn precise(place: Place<'_>) -> Option<Hostname> {
    let host: Hostname = place.parse()?;
    if host.as_str().starts_with('*') {
        return place.wrong(format!("`{host}`"), "one host, without a wildcard");
    }
    Some(host)
}

fn path(place: &Place<'_>, prefix: Prefix) -> Option<PathModifier> {
    const PATH: &str = "an absolute path without query, fragment, `;`, `//`, `.` or `..` segments or escaped slash";
    let mut fields = place.fields()?;
    let kind = fields.required("type", |place| place.choice::<PathModifierType>());
    let (own, other) = match kind? {
        PathModifierType::ReplaceFullPath => ("replaceFullPath", "replacePrefixMatch"),
        PathModifierType::ReplacePrefixMatch => ("replacePrefixMatch", "replaceFullPath"),
    };
    others(&mut fields, own, &[other]);
    let full = kind == Some(PathModifierType::ReplaceFullPath);
    let text = fields.required(own, |place| {
        let valid = |text: &str| is_plain_path(text) || (!full && text.is_empty());
        normal_path(&place, valid, PATH)
    });
    if !full && prefix == Prefix::None {
        place.wrong::<()>(
            "`ReplacePrefixMatch` in a rule that matches no single prefix",
            "exactly one entry in the rule's `matches`, with a `path` of type PathPrefix",
        );
    }
    fields.finish();
    text.map(if full {
        PathModifier::ReplaceFullPath
    } else {
        PathModifier::ReplacePrefixMatch
    })
}

fn cors(place: &Place<'_>) -> Option<Cors> {
    let mut fields = place.fields()?;
    let mut methods: Vec<&str> = HttpMethod::ALL.iter().map(|(word, _)| *word).collect();
    methods.push("*");
    let origin = |place: &Place<'_>| place.parse::<OriginPattern>();
    let method = |place: &Place<'_>| {
        let index = place.word(&methods)?;
        methods.get(index).map(|word| (*word).to_owned())
    };
    let filter = Cors {
        allow_origins: wild(&mut fields, "allowOrigins", origin, OriginPattern::as_str),
        allow_credentials: fields.optional("allowCredentials", |place| place.boolean()),
        allow_methods: wild(&mut fields, "allowMethods", method, String::as_str),
        allow_headers: wild(&mut fields, "allowHeaders", exposable, String::as_str),
        expose_headers: wild(&mut fields, "exposeHeaders", exposable, String::as_str),
        max_age: fields.optional("maxAge", |place| place.integer(1..=i32::MAX.unsigned_abs())),
    };
    fields.finish();
    Some(filter)
}

fn exposable(place: &Place<'_>) -> Option<String> {
    if place.clone().text() == Some("*") {
        return Some("*".to_owned());
    }
    super::route::header_name(place).map(|name| name.to_string())
}

/// A list without repetitions, in which `*` stands alone.
fn wild<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    decode: impl Fn(&Place<'_>) -> Option<T>,
    word: impl Fn(&T) -> &str,
) -> Vec<T> {
    let mut once = Once::default();
    let list = fields.list(name, 0..=64, |place| {
        let item = decode(&place)?;
        once.check(&place, word(&item));
        Some(item)
    });
    if list.len() > 1
        && list.iter().any(|item| word(item) == "*")
        && let Some(place) = fields.at(name)
    {
        place.wrong::<()>("`*` among others", "`*` alone, or a list without it");
    }
    list
}
