//! Until when a request's answer has to have begun: who may say so.
//!
//! gRPC has no time limit unless its caller or its route sets one, so who may call itself gRPC may wait for ever. A
//! `content-type` is not enough for that: it is the caller's word. An application's counts where the port may carry gRPC at
//! all; a stranger's only where the port or the route says gRPC too.

use usher_config::{model::Protocol, value::Port};

use crate::{
    policy::{retry::RequestTraits, timeout::Deadline},
    snapshot::ServiceEntry,
    telemetry::trace_context::Caller,
    worker::Record,
};

use super::Routed;

/// The request's, from its headers as they go on.
pub(super) fn of(
    headers: &http::HeaderMap,
    routed: &Routed,
    traits: RequestTraits,
    record: &Record,
) -> Deadline {
    let plan = &routed.plan;
    let by_route = record.route.as_deref().is_some_and(is_grpc_route);
    let counts = by_route || port_says(protocol(&plan.target, plan.port), routed.caller);
    let timeouts = &plan.treatment.policy.timeouts;
    Deadline::of(headers, timeouts, traits.grpc && counts, record.began())
}

fn protocol(target: &ServiceEntry, port: Port) -> Protocol {
    let declared = target.model.port(port.get());
    declared.map_or(Protocol::Detect, |port| port.protocol)
}

/// Routes are named `kind/namespace/name/rule`.
fn is_grpc_route(name: &str) -> bool {
    name.starts_with("GRPCRoute/")
}

fn port_says(protocol: Protocol, caller: Caller) -> bool {
    match protocol {
        Protocol::Grpc => true,
        Protocol::Http2 | Protocol::Detect => caller == Caller::Trusted,
        Protocol::Http1 | Protocol::Tcp => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_word_for_grpc_takes_a_second_one() {
        let cases = [
            (Protocol::Grpc, true, true),
            (Protocol::Http2, true, false),
            (Protocol::Detect, true, false),
            (Protocol::Http1, false, false),
            (Protocol::Tcp, false, false),
        ];
        for (protocol, application, stranger) in cases {
            assert_eq!(
                port_says(protocol, Caller::Trusted),
                application,
                "{protocol:?}"
            );
            assert_eq!(
                port_says(protocol, Caller::Untrusted),
                stranger,
                "{protocol:?}"
            );
        }
        assert!(is_grpc_route("GRPCRoute/shop/orders/0"));
        assert!(!is_grpc_route("HTTPRoute/shop/orders/GRPCRoute"));
    }
}
