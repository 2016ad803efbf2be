//! Callers without the mesh's TLS, as a control plane is told of them.

use usher_config::{
    model::{PlaintextCaller, PlaintextCallers},
    wire::v1,
};

use crate::{callers::Seen, clock::Tick};

/// Those `seen`, until `now`.
pub(super) fn callers(seen: &[Seen], now: Tick) -> v1::PlaintextCallers {
    let caller = |seen: &Seen| PlaintextCaller {
        address: seen.who.address,
        port: seen.who.port,
        first_seen: now.since(seen.first),
        last_seen: now.since(seen.last),
        refused: seen.refused.map(|at| now.since(at)),
        let_in: seen.let_in.map(|at| now.since(at)),
    };
    v1::PlaintextCallers::from(&PlaintextCallers(seen.iter().map(caller).collect()))
}
