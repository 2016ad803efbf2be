//! Keys that are believed although nobody has seen them for long: the issuer may have taken one back since.

use std::{collections::BTreeMap, time::SystemTime};

use usher_config::{
    kind::{AuthenticationPolicy, JwksSource, Object},
    value::JwksUri,
};

use crate::{clock, registry::World, status::Condition};

/// After so many of a policy's refresh intervals. One failure is nothing to tell.
const INTERVALS: u32 = 3;

/// One condition for each policy with such keys. Pure.
pub(super) fn stale(
    world: &World,
    fetched: &BTreeMap<JwksUri, SystemTime>,
    now: SystemTime,
) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (key, accepted) in &world.objects {
        if let Object::AuthenticationPolicy(policy) = &*accepted.object {
            conditions.extend(of_policy(policy, fetched, now).map(|message| Condition {
                object: key.to_string(),
                reason: "StaleKeys".to_owned(),
                message,
            }));
        }
    }
    conditions
}

fn of_policy(
    policy: &AuthenticationPolicy,
    fetched: &BTreeMap<JwksUri, SystemTime>,
    now: SystemTime,
) -> impl Iterator<Item = String> {
    policy.spec.jwt.iter().filter_map(move |provider| {
        let uri = provider.jwks.uri.as_ref()?;
        let at = *fetched.get(uri)?;
        let every = provider.jwks.refresh_interval;
        let every = every.unwrap_or(JwksSource::DEFAULT_REFRESH_INTERVAL).0;
        let is_old = now.duration_since(at).is_ok_and(|age| age > every * INTERVALS);
        is_old.then(|| {
            format!(
                "the keys of {} from {uri} were fetched last at {}: a key that the issuer took back since is still believed; \
                 see the control plane's log for why no fetch succeeds",
                provider.issuer,
                clock::text(at)
            )
        })
    })
}

#[cfg(test)]
mod tests;
