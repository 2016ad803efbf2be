//! How much may be attached to one service or gateway.
//!
//! All of it travels as one message, and a receiver that cannot take one for its size is left without any further
//! configuration. So what is too much is said here, of the object that is: the parent's own namespace comes first, then
//! whoever was there before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use usher_config::{
    kind::ObjectKey,
    model::{Route, StreamRoute, TrafficPolicy},
    value::ServiceName,
    wire::{routes_size, streams_size},
};

use super::{Finding, Reason, precedence::Ranked};

/// Bytes of all routes of one parent, encoded, those for requests and those for connections: half of what a proxy takes in
/// one message, and a thousand times what a large gateway has.
pub(super) const ROUTES_BYTES_MAX: usize = 32 << 20;

/// In a gateway with the policies of its backends.
type Routed<'a> = (&'a Ranked, &'a [Option<Arc<TrafficPolicy>>]);

/// What one object would add to a parent.
#[derive(Debug)]
pub(super) struct Claim {
    object: ObjectKey,
    accepted_at: SystemTime,
    bytes: usize,
}

/// Of routes for requests. What those of an object share counts once.
pub(super) fn of_requests<'a>(routes: impl Iterator<Item = Routed<'a>>) -> Vec<Claim> {
    let mut objects: BTreeMap<&ObjectKey, (SystemTime, Vec<(&Route, _)>)> = BTreeMap::new();
    for (ranked, policies) in routes {
        let none = || (ranked.accepted_at, Vec::new());
        let (_, routes) = objects.entry(&ranked.object).or_insert_with(none);
        routes.push((&ranked.route, policies));
    }
    let objects = objects.into_iter();
    let claims = objects.map(|(object, (accepted_at, routes))| Claim {
        object: object.clone(),
        accepted_at,
        bytes: routes_size(routes),
    });
    claims.collect()
}

/// A route for connections, its object, and when that was accepted.
pub(super) type Connection<'a> = (&'a ObjectKey, SystemTime, &'a StreamRoute);

/// Of routes for connections.
pub(super) fn of_connections<'a>(routes: impl Iterator<Item = Connection<'a>>) -> Vec<Claim> {
    let mut objects: BTreeMap<&ObjectKey, (SystemTime, usize)> = BTreeMap::new();
    for (object, accepted_at, route) in routes {
        let (_, bytes) = objects.entry(object).or_insert((accepted_at, 0));
        *bytes += streams_size([route]);
    }
    let objects = objects.into_iter();
    let claims = objects.map(|(object, (accepted_at, bytes))| Claim {
        object: object.clone(),
        accepted_at,
        bytes,
    });
    claims.collect()
}

/// Objects whose routes do not fit any more, each reported.
pub(super) fn crowded_out(
    parent: &ServiceName,
    mut claims: Vec<Claim>,
    limit: usize,
    findings: &mut Vec<Finding>,
) -> BTreeSet<ObjectKey> {
    claims.sort_by(|a, b| {
        let turn = |claim: &Claim| {
            (
                claim.object.namespace != parent.namespace,
                claim.accepted_at,
            )
        };
        (turn(a), &a.object).cmp(&(turn(b), &b.object))
    });
    let mut taken = 0;
    let mut crowded_out = BTreeSet::new();
    for Claim { object, bytes, .. } in claims {
        if taken + bytes <= limit {
            taken += bytes;
            continue;
        }
        findings.push(Finding {
            object: object.clone(),
            reason: Reason::TooLarge,
            message: format!(
                "none of it is followed: its routes take {bytes} bytes, {parent} has {taken} from routes that come first, \
                 allowed: {limit} in all; use fewer host names, matches or backends, or smaller fallback responses"
            ),
        });
        crowded_out.insert(object);
    }
    crowded_out
}
