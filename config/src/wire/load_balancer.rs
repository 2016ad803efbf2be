//! `LoadBalancer`.

use crate::model::{Algorithm, HashKey, LoadBalancer, SlowStart, Zones};

use super::{
    DecodeError,
    policy::decode_header_name,
    scalar::{Decoded, list, optional_millis, percent, required, to_millis},
    v1,
};

impl From<&LoadBalancer> for v1::LoadBalancer {
    fn from(balancer: &LoadBalancer) -> Self {
        let algorithm = match balancer.algorithm {
            Algorithm::PeakEwma => v1::load_balancer::Algorithm::PeakEwma,
            Algorithm::LeastRequest => v1::load_balancer::Algorithm::LeastRequest,
            Algorithm::RoundRobin => v1::load_balancer::Algorithm::RoundRobin,
            Algorithm::RingHash => v1::load_balancer::Algorithm::RingHash,
        };
        let slow_start = balancer.slow_start;
        Self {
            algorithm: algorithm as i32,
            hash: balancer.hash.iter().map(Into::into).collect(),
            slow_start_ms: slow_start.map_or(0, |slow| to_millis(slow.window)),
            slow_start_percent_min: slow_start.map_or(0, |slow| slow.min_percent.get().into()),
            zones: balancer.zones.as_ref().map(|zones| v1::Zones {
                failover: zones.failover.clone(),
                ready_percent_min: zones.min_ready.get().into(),
            }),
        }
    }
}

impl From<&HashKey> for v1::HashKey {
    fn from(key: &HashKey) -> Self {
        use v1::hash_key::Kind;
        let kind = match key {
            HashKey::Header(name) => Kind::Header(name.to_string()),
            HashKey::Cookie(name) => Kind::Cookie(name.clone()),
            HashKey::Query(name) => Kind::Query(name.clone()),
            HashKey::Source => Kind::Source(true),
        };
        Self { kind: Some(kind) }
    }
}

pub(super) fn decode_load_balancer(message: v1::LoadBalancer) -> Decoded<LoadBalancer> {
    use v1::load_balancer::Algorithm as Wire;
    let algorithm = match Wire::try_from(message.algorithm) {
        Ok(Wire::PeakEwma) => Algorithm::PeakEwma,
        Ok(Wire::LeastRequest) => Algorithm::LeastRequest,
        Ok(Wire::RoundRobin) => Algorithm::RoundRobin,
        Ok(Wire::RingHash) => Algorithm::RingHash,
        Err(_) => {
            return Err(DecodeError::at(
                "algorithm",
                message.algorithm,
                "a value of this version",
            ));
        }
    };
    let min_percent = percent("slow_start_percent_min", message.slow_start_percent_min)?;
    let slow_start = optional_millis("slow_start_ms", message.slow_start_ms)?;
    Ok(LoadBalancer {
        algorithm,
        hash: list("hash", message.hash, decode_hash_key)?,
        slow_start: slow_start.map(|window| SlowStart {
            window,
            min_percent,
        }),
        zones: message.zones.map(decode_zones).transpose()?,
    })
}

fn decode_hash_key(message: v1::HashKey) -> Decoded<HashKey> {
    use v1::hash_key::Kind;
    Ok(match required("kind", message.kind)? {
        Kind::Header(name) => HashKey::Header(decode_header_name("header", &name)?),
        Kind::Cookie(name) => HashKey::Cookie(name),
        Kind::Query(name) => HashKey::Query(name),
        Kind::Source(_) => HashKey::Source,
    })
}

fn decode_zones(message: v1::Zones) -> Decoded<Zones> {
    Ok(Zones {
        failover: message.failover,
        min_ready: percent("ready_percent_min", message.ready_percent_min)?,
    })
}
