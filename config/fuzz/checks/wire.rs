//! What must hold for any bytes from a control plane, or from a sidecar: refused, or decoded to what encodes to the same again.
//! The first byte picks the resource, the rest is the message.

use prost::Message;
use usher_config::{
    model::{Endpoint, Gateway, InboundPolicy, PlaintextCallers, Revision, Service, TrustBundle},
    wire::v1,
};

/// Panics if decoding does, or if a decoded value does not survive the wire.
pub(crate) fn check(bytes: &[u8]) {
    let Some((kind, message)) = bytes.split_first() else {
        return;
    };
    match kind % 7 {
        0 => round_trip::<v1::Service, Service>(message),
        1 => round_trip::<v1::Endpoint, Endpoint>(message),
        2 => round_trip::<v1::InboundPolicy, InboundPolicy>(message),
        3 => round_trip::<v1::TrustBundle, TrustBundle>(message),
        4 => round_trip::<v1::Revision, Revision>(message),
        5 => round_trip::<v1::Gateway, Gateway>(message),
        _ => round_trip::<v1::PlaintextCallers, PlaintextCallers>(message),
    }
}

fn round_trip<W, M>(bytes: &[u8])
where
    W: Message + Default + for<'a> From<&'a M>,
    M: TryFrom<W> + PartialEq + std::fmt::Debug,
{
    let Ok(message) = W::decode(bytes) else {
        return;
    };
    let Ok(value) = M::try_from(message) else {
        return;
    };
    let again = M::try_from(W::from(&value)).ok();
    assert_eq!(
        again.as_ref(),
        Some(&value),
        "a decoded value does not survive the wire"
    );
}
