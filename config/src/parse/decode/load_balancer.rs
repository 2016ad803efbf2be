//! `TrafficPolicy.spec.loadBalancer`.

use crate::{
    kind::{Algorithm, HashKey, LoadBalancer, SlowStart, Zones},
    parse::fields::{Fields, Once},
    parse::place::Place,
};

use super::{resilience::share, route::header_name, service::zone};

pub(super) fn load_balancer(place: Place<'_>) -> Option<LoadBalancer> {
    let mut fields = place.fields()?;
    let algorithm = fields.optional("algorithm", |place| place.choice());
    let balancer = LoadBalancer {
        algorithm,
        hash: hash(&mut fields),
        slow_start: fields.optional("slowStart", slow_start),
        zones: fields.optional("zones", zones),
    };
    // A wider policy may say RingHash: without `algorithm` here nobody knows yet.
    let rings = algorithm == Some(Algorithm::RingHash);
    if let (false, true, Some(place)) = (rings, algorithm.is_some(), fields.at("hash")) {
        place.wrong::<()>("`hash`", "none: only algorithm RingHash hashes");
    }
    if let (true, Some(place)) = (rings, fields.at("slowStart")) {
        let allowed = "none: with RingHash a new endpoint has its keys from the beginning";
        place.wrong::<()>("`slowStart`", allowed);
    }
    fields.finish();
    Some(balancer)
}

fn hash(fields: &mut Fields<'_>) -> Option<Vec<HashKey>> {
    let place = fields.at("hash")?;
    let mut once = Once::default();
    let keys = place.items(1..=8).into_iter().filter_map(|place| {
        let key = hash_key(&place)?;
        once.check(&place, format!("{key:?}"));
        Some(key)
    });
    Some(keys.collect())
}

fn hash_key(place: &Place<'_>) -> Option<HashKey> {
    let mut fields = place.fields()?;
    let key = fields.one_of(&[
        ("header", header),
        ("cookie", cookie),
        ("query", query),
        ("source", source),
    ]);
    fields.finish();
    key
}

fn header(place: Place<'_>) -> Option<HashKey> {
    header_name(&place).map(|name| HashKey::Header(name.as_str().to_owned()))
}

fn cookie(place: Place<'_>) -> Option<HashKey> {
    // RFC 6265 §4.1.1: a token, as a header's name is.
    let token = |text: &str| http::HeaderName::from_bytes(text.as_bytes()).is_ok();
    let name = place.read(
        |text| token(text).then(|| text.to_owned()),
        "a cookie's name",
    )?;
    Some(HashKey::Cookie(name))
}

fn query(place: Place<'_>) -> Option<HashKey> {
    let plain = |text: &str| {
        (1..=256).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"&=#".contains(&b))
    };
    let name = place.read(
        |text| plain(text).then(|| text.to_owned()),
        "a query parameter's name, as written in the URL",
    )?;
    Some(HashKey::Query(name))
}

fn source(place: Place<'_>) -> Option<HashKey> {
    place.fields()?.finish();
    Some(HashKey::Source {})
}

fn slow_start(place: Place<'_>) -> Option<SlowStart> {
    let mut fields = place.fields()?;
    let slow_start = SlowStart {
        window: fields.optional("window", |place| place.parse()),
        min_percent: fields.optional("minPercent", share),
    };
    fields.finish();
    Some(slow_start)
}

fn zones(place: Place<'_>) -> Option<Zones> {
    let mut fields = place.fields()?;
    let prefer = fields.optional("prefer", |place| place.choice());
    let mut once = Once::default();
    let failover = fields.at("failover").map(|place| {
        let names = place.items(1..=16).into_iter().filter_map(|place| {
            let name = zone(&place)?;
            once.check(&place, name.as_str());
            Some(name)
        });
        names.collect()
    });
    let min_ready_percent = fields.optional("minReadyPercent", |place| place.number());
    fields.finish();
    Some(Zones {
        prefer,
        failover,
        min_ready_percent,
    })
}
