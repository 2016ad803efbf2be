//! FaultPolicies → what callers' sidecars do, until when.

use std::time::SystemTime;

use usher_config::{
    kind::{self, FaultPolicy, ObjectKey},
    model::{Fault, FaultAnswer},
};

use super::{
    index::{Aged, Index},
    matches,
    targets::{Target, Targets},
};

/// When each fault policy ends.
pub(super) fn expiries(index: &Index<'_>) -> Vec<(ObjectKey, SystemTime)> {
    let expiry = |aged: &Aged<'_, FaultPolicy>| (aged.key.clone(), expires_at(aged));
    index.faults.iter().map(expiry).collect()
}

/// The fault of the narrowest of these targets (widest first) that has one.
pub(super) fn fault(targets: &Targets<'_>, wide_to_narrow: &[Target]) -> Option<Fault> {
    let aged = narrowest(targets, wide_to_narrow)?;
    let spec = &aged.object.spec;
    Some(Fault {
        name: aged.object.full_name().to_string().into(),
        expires_at: expires_at(&aged),
        headers: matches::headers(&spec.headers),
        delay: spec
            .delay
            .map(|delay| (delay.percent, delay.duration.into())),
        abort: spec
            .abort
            .map(|abort| (abort.percent, answer(abort.answer))),
    })
}

/// The policy of [`fault`].
pub(super) fn held_by(targets: &Targets<'_>, wide_to_narrow: &[Target]) -> Option<ObjectKey> {
    narrowest(targets, wide_to_narrow).map(|aged| aged.key.clone())
}

fn narrowest<'a>(
    targets: &Targets<'a>,
    wide_to_narrow: &[Target],
) -> Option<Aged<'a, FaultPolicy>> {
    let mut narrow_to_wide = wide_to_narrow.iter().rev();
    narrow_to_wide.find_map(|target| targets.fault(target))
}

fn answer(written: kind::FaultAnswer) -> FaultAnswer {
    match written {
        kind::FaultAnswer::Status(status) => FaultAnswer::Status(status),
        kind::FaultAnswer::GrpcStatus(status) => FaultAnswer::GrpcStatus(status.code()),
    }
}

fn expires_at(aged: &Aged<'_, FaultPolicy>) -> SystemTime {
    aged.accepted_at + aged.object.spec.expire_after.0
}
