//! The model as protobuf (`config/proto`), and back.
//!
//! Encoding is `v1::X::from(&model::X)`, decoding `model::X::try_from(v1::X)`. Decoding is total: any message
//! gives a model or a [`DecodeError`] that names the field; values this version does not know are refused, never
//! guessed, because a policy that is half understood is a policy that is not enforced.

mod authentication;
mod backend_tls;
mod caller;
mod endpoint;
mod error;
mod filter;
mod gateway;
mod inbound_policy;
mod fault;
mod load_balancer;
mod policy;
mod rate_limit;
mod route;
mod scalar;
mod service;
mod stream;
#[cfg(test)]
mod tests;

pub use error::DecodeError;
pub use route::routes_size;
pub use stream::streams_size;

/// Code generated from `config/proto`, in the folders' structure; `tests/generated.rs` keeps it fresh.
#[allow(
    missing_docs,
    elided_lifetimes_in_paths,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unused_qualifications,
    unreachable_pub,
    reason = "generated"
)]
mod generated {
    pub mod google {
        pub mod rpc {
            include!("generated/google.rpc.rs");
        }
    }
    pub mod envoy {
        pub mod service {
            pub mod discovery {
                pub mod v3 {
                    include!("generated/envoy.service.discovery.v3.rs");
                }
            }
        }
    }
    pub mod usher {
        pub mod v1 {
            include!("generated/usher.v1.rs");
        }
    }
}

pub use generated::envoy::service::discovery::v3 as discovery;
pub use generated::google::rpc;
pub use generated::usher::v1;

/// Which messages there are and what is in them, as a number: who finds another one beside what it wrote down earlier may have
/// been told more than it could write.
pub const SHAPE: u64 = shape(include_bytes!("generated/usher.v1.rs"));

/// FNV-1a, 64 bits.
const fn shape(mut text: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    while let [byte, rest @ ..] = text {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
        text = rest;
    }
    hash
}

/// gRPC's header for when a call may be made again, in milliseconds (gRFC A6).
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What a proxy says about itself in `Node.client_features`, as other xDS clients do.
pub mod client_feature {
    /// It stands beside no application that is called: it registers no instance.
    pub const ONLY_CALLS: &str = "usher.only-calls";
    /// It follows a Service's routes for connections; sidecars of before there were any drop them without a word.
    pub const STREAM_ROUTES: &str = "usher.stream-routes";
    /// It looks at tokens and counts requests; proxies of before there were such policies let everything in.
    pub const GUARDS: &str = "usher.guards";
    /// It looks at claims in access rules; proxies of before there were such rules would see a rule that asks for less.
    pub const CLAIM_RULES: &str = "usher.claim-rules";
}

/// The type URLs under which the native protocol's resources travel.
pub mod type_url {
    /// [`crate::model::Service`], named `ns/name`.
    pub const SERVICE: &str = "type.googleapis.com/usher.v1.Service";
    /// [`crate::model::Endpoint`], named `ns/service/instance`, subscribed as `ns/service/*`.
    pub const ENDPOINT: &str = "type.googleapis.com/usher.v1.Endpoint";
    /// [`crate::model::InboundPolicy`], named `ns/service`.
    pub const INBOUND_POLICY: &str = "type.googleapis.com/usher.v1.InboundPolicy";
    /// [`crate::model::Gateway`], named `ns/name`.
    pub const GATEWAY: &str = "type.googleapis.com/usher.v1.Gateway";
    /// [`crate::model::TrustBundle`], named by the trust domain, subscribed as `*`.
    pub const TRUST_BUNDLE: &str = "type.googleapis.com/usher.v1.TrustBundle";
    /// [`crate::model::Revision`], subscribed as `*`; always the last of a batch.
    pub const REVISION: &str = "type.googleapis.com/usher.v1.Revision";
}
