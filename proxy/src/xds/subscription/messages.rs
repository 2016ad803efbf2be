//! The requests that a subscription makes.

use usher_config::{
    value::ServiceName,
    wire::{
        client_feature,
        discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node},
        rpc,
    },
};

/// A refusal's text, in characters.
const NACK_LENGTH_MAX: usize = 1_000;

const INVALID_ARGUMENT: i32 = 3;

pub(super) fn every_endpoint(service: &ServiceName) -> String {
    format!("{service}/*")
}

pub(super) fn change_of(
    type_url: &str,
    subscribe: Vec<String>,
    unsubscribe: Vec<String>,
) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: subscribe,
        resource_names_unsubscribe: unsubscribe,
        ..Default::default()
    }
}

/// ACK, or NACK that names every resource we could not use; for those the last good one stays.
pub(super) fn answer(
    response: DeltaDiscoveryResponse,
    mistakes: &[String],
) -> DeltaDiscoveryRequest {
    let message: String = mistakes.join("; ").chars().take(NACK_LENGTH_MAX).collect();
    DeltaDiscoveryRequest {
        type_url: response.type_url,
        response_nonce: response.nonce,
        error_detail: (!mistakes.is_empty()).then(|| rpc::Status {
            code: INVALID_ARGUMENT,
            message,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Who asks: the instance of `own`.
pub(super) fn node(own: &ServiceName, instance: &str) -> Node {
    Node {
        id: format!("{own}/{instance}"),
        cluster: own.to_string(),
        user_agent_name: concat!("usher-proxy/", env!("CARGO_PKG_VERSION")).to_owned(),
        client_features: [
            client_feature::STREAM_ROUTES,
            client_feature::GUARDS,
            client_feature::CLAIM_RULES,
        ]
        .map(str::to_owned)
        .into(),
    }
}
