//! `loadBalancer`, every default filled in.

use http::HeaderName;
use usher_config::{
    kind,
    model::{Algorithm, HashKey, LoadBalancer, SlowStart, Zones},
};

pub(super) fn load_balancer(spec: &kind::LoadBalancer) -> LoadBalancer {
    let algorithm = match spec.algorithm {
        Some(kind::Algorithm::PeakEwma) | None => Algorithm::PeakEwma,
        Some(kind::Algorithm::LeastRequest) => Algorithm::LeastRequest,
        Some(kind::Algorithm::RoundRobin) => Algorithm::RoundRobin,
        Some(kind::Algorithm::RingHash) => Algorithm::RingHash,
    };
    let rings = algorithm == Algorithm::RingHash;
    let keys = match &spec.hash {
        Some(keys) => keys.iter().filter_map(hash_key).collect(),
        None => vec![HashKey::Source],
    };
    LoadBalancer {
        algorithm,
        hash: if rings { keys } else { Vec::new() },
        slow_start: spec
            .slow_start
            .as_ref()
            .filter(|_| !rings)
            .and_then(slow_start),
        zones: spec.zones.as_ref().and_then(zones),
    }
}

/// `None` cannot be: the decoder reads a header's name as one.
fn hash_key(key: &kind::HashKey) -> Option<HashKey> {
    Some(match key {
        kind::HashKey::Header(name) => HashKey::Header(HeaderName::try_from(name).ok()?),
        kind::HashKey::Cookie(name) => HashKey::Cookie(name.clone()),
        kind::HashKey::Query(name) => HashKey::Query(name.clone()),
        kind::HashKey::Source {} => HashKey::Source,
    })
}

fn slow_start(spec: &kind::SlowStart) -> Option<SlowStart> {
    let window = spec.window.unwrap_or(kind::SlowStart::DEFAULT_WINDOW);
    let slow_start = SlowStart {
        window: window.into(),
        min_percent: spec
            .min_percent
            .unwrap_or(kind::SlowStart::DEFAULT_MIN_PERCENT),
    };
    (!slow_start.window.is_zero()).then_some(slow_start)
}

fn zones(spec: &kind::Zones) -> Option<Zones> {
    match spec.prefer {
        Some(kind::ZonePreference::Any) => None,
        Some(kind::ZonePreference::Own) | None => Some(Zones {
            failover: spec.failover.clone().unwrap_or_default(),
            min_ready: spec
                .min_ready_percent
                .unwrap_or(kind::Zones::DEFAULT_MIN_READY_PERCENT),
        }),
    }
}
