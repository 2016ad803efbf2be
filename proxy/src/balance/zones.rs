//! Zones: one's own first, then those that policy lists, then all others.

use usher_config::model::Zones;

/// A zone's place in the order of preference, for a caller in zone `own`; without a policy all are alike. A caller
/// that does not know its own zone begins with the listed ones.
pub fn rank(zones: Option<&Zones>, own: &str, zone: &str) -> u32 {
    let Some(zones) = zones else { return 0 };
    if !own.is_empty() && zone == own {
        return 0;
    }
    let listed = zones.failover.iter().position(|name| name == zone);
    let place = listed.unwrap_or(zones.failover.len());
    u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1)
}
