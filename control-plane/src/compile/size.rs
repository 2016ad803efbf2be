//! How much may be attached to one service or gateway.
//!
//! All of it travels as one message, and a receiver that cannot take one for its size is left without any further
//! configuration. So what is too much is said here, of the object that is: the parent's own namespace comes first, then
//! whoever was there before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use usher_config::{
    kind::ObjectKey,
    model::{Route, TrafficPolicy},
    value::ServiceName,
    wire::routes_size,
};

use super::{Finding, Reason, precedence::Ranked};

/// Bytes of all requests' routes of one parent, encoded: half of what a proxy takes in one message, and a thousand times
/// what a large gateway has.
pub(super) const ROUTES_BYTES_MAX: usize = 32 << 20;

/// In a gateway with the policies of its backends.
type Routed<'a> = (&'a Ranked, &'a [Option<Arc<TrafficPolicy>>]);

/// Objects whose routes do not fit any more, each reported.
pub(super) fn crowded_out<'a>(
    parent: &ServiceName,
    routes: impl Iterator<Item = Routed<'a>>,
    limit: usize,
    findings: &mut Vec<Finding>,
) -> BTreeSet<ObjectKey> {
    let mut objects: BTreeMap<_, Vec<(&Route, _)>> = BTreeMap::new();
    for (ranked, policies) in routes {
        let object = &ranked.object;
        let foreign = object.namespace != parent.namespace;
        let turn = (foreign, ranked.accepted_at, object);
        objects
            .entry(turn)
            .or_default()
            .push((&ranked.route, policies));
    }
    let mut taken = 0;
    let mut crowded_out = BTreeSet::new();
    for ((_, _, object), routes) in objects {
        let size = routes_size(routes);
        if taken + size <= limit {
            taken += size;
            continue;
        }
        crowded_out.insert(object.clone());
        findings.push(Finding {
            object: object.clone(),
            reason: Reason::TooLarge,
            message: format!(
                "none of it is followed: its routes take {size} bytes, {parent} has {taken} from routes that come first, \
                 allowed: {limit} in all; use fewer host names, matches or backends, or smaller fallback responses"
            ),
        });
    }
    crowded_out
}
