//! Whether an edit may open something that a guard which nobody can read yet is to keep closed. Pure.
//!
//! What a file holds that cannot be read was most likely written together with the edits beside it. So those that change what
//! can be called, or take a guard from something, are not taken before it can be read; all others are: what an operator mends
//! at night (the weights of backends that are in use, timeouts, retries, who may call) opens nothing that was not open.

use std::collections::BTreeSet;

use usher_config::{
    kind::{
        BackendRef, GrpcRouteSpec, HttpRouteSpec, Kind, Object, ObjectKey, StreamRule, TargetKind,
        TargetRef, TcpRouteSpec, TlsRouteSpec,
    },
    value::{Name, Weight},
};

use super::{World, denied::protects};

/// What opens something by coming into being, and cannot be closed alone: no policy is about a route for connections or a grant,
/// by a slice something may be sent in plaintext that a policy was to keep from readers, and where there was no Mesh, its defaults held, which let in and out less than it may.
pub(super) fn opens_alone(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TlsRoute | Kind::TcpRoute | Kind::ReferenceGrant | Kind::EndpointSlice | Kind::Mesh
    )
}

/// Whether its author keeps somebody out, or somebody's requests back.
pub(super) fn guards(kind: Kind) -> bool {
    protects(kind) || kind == Kind::RateLimitPolicy
}

/// Whether `after` in the place of `before` may let somebody reach what nobody reached, or past a guard.
pub(super) fn may_open(before: &Object, after: &Object) -> bool {
    match (before, after) {
        (Object::Service(before), Object::Service(after)) => before.spec != after.spec,
        (Object::Gateway(before), Object::Gateway(after)) => before.spec != after.spec,
        (Object::ReferenceGrant(before), Object::ReferenceGrant(after)) => {
            before.spec != after.spec
        }
        // Where requests are sent, and inside which TLS, belongs together.
        (Object::EndpointSlice(before), Object::EndpointSlice(after)) => {
            before.spec != after.spec || before.service() != after.service()
        }
        // It says who is let in and out where no guard does, and how guards read paths and loosen each other.
        (Object::Mesh(before), Object::Mesh(after)) => before.spec != after.spec,
        (Object::HttpRoute(before), Object::HttpRoute(after)) => http(&before.spec, &after.spec),
        (Object::GrpcRoute(before), Object::GrpcRoute(after)) => grpc(&before.spec, &after.spec),
        (Object::TlsRoute(before), Object::TlsRoute(after)) => tls(&before.spec, &after.spec),
        (Object::TcpRoute(before), Object::TcpRoute(after)) => tcp(&before.spec, &after.spec),
        _ => guards(before.key().kind) && leaves_a_target(before.targets(), after.targets()),
    }
}

/// Routes that a guard of `world` is for: without them their requests would be a wider route's, which it is not about.
pub(super) fn guarded_routes(world: &World) -> BTreeSet<ObjectKey> {
    let policies = world.objects.iter();
    let policies = policies.map(|(key, accepted)| (key, accepted.object.targets()));
    let denied = world.denied.iter();
    let denied = denied.map(|(key, denied)| (key, denied.targets.as_slice()));
    routes_of(
        policies
            .chain(denied)
            .filter(|(key, _)| guards(key.kind))
            .map(|(key, targets)| (&key.namespace, targets)),
    )
}

/// The routes among what policies target, each with the namespace that it lives in.
pub(super) fn routes_of<'p>(
    policies: impl Iterator<Item = (&'p Name, &'p [TargetRef])>,
) -> BTreeSet<ObjectKey> {
    let routes = policies.flat_map(|(namespace, targets)| {
        targets.iter().filter_map(move |target| {
            let kind = match target.kind {
                TargetKind::HttpRoute => Kind::HttpRoute,
                TargetKind::GrpcRoute => Kind::GrpcRoute,
                TargetKind::Mesh
                | TargetKind::Namespace
                | TargetKind::Service
                | TargetKind::Gateway => return None,
            };
            Some(ObjectKey {
                kind,
                namespace: namespace.clone(),
                name: target.name.clone(),
            })
        })
    });
    routes.collect()
}

fn leaves_a_target(before: &[TargetRef], after: &[TargetRef]) -> bool {
    before.iter().any(|target| !after.contains(target))
}

fn http(before: &HttpRouteSpec, after: &HttpRouteSpec) -> bool {
    let mut after = after.clone();
    for (then, now) in before.rules.iter().zip(&mut after.rules) {
        now.timeouts = then.timeouts;
        now.retry = then.retry.clone();
        let then = then.backend_refs.iter().map(|one| &one.backend);
        weigh(
            then,
            now.backend_refs.iter_mut().map(|one| &mut one.backend),
        );
    }
    after != *before
}

fn grpc(before: &GrpcRouteSpec, after: &GrpcRouteSpec) -> bool {
    let mut after = after.clone();
    for (then, now) in before.rules.iter().zip(&mut after.rules) {
        let then = then.backend_refs.iter().map(|one| &one.backend);
        weigh(
            then,
            now.backend_refs.iter_mut().map(|one| &mut one.backend),
        );
    }
    after != *before
}

fn tls(before: &TlsRouteSpec, after: &TlsRouteSpec) -> bool {
    let mut after = after.clone();
    streams(&before.rules, &mut after.rules);
    after != *before
}

fn tcp(before: &TcpRouteSpec, after: &TcpRouteSpec) -> bool {
    let mut after = after.clone();
    streams(&before.rules, &mut after.rules);
    after != *before
}

fn streams(before: &[StreamRule], after: &mut [StreamRule]) {
    for (then, now) in before.iter().zip(after) {
        weigh(then.backend_refs.iter(), now.backend_refs.iter_mut());
    }
}

/// Overlooks another weight of what is in use; one that nobody is led to would be opened by it.
fn weigh<'b>(
    before: impl Iterator<Item = &'b BackendRef>,
    after: impl Iterator<Item = &'b mut BackendRef>,
) {
    for (then, now) in before.zip(after) {
        if then.weight != Weight::ZERO {
            now.weight = then.weight;
        }
    }
}

#[cfg(test)]
mod tests;
