//! The bank's gRPC interfaces, generated from `chassis/proto` and checked in; `tests/generated.rs` keeps them fresh.

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
    pub mod account {
        include!("generated/bank.account.v1.rs");
    }
    pub mod fraud {
        include!("generated/bank.fraud.v1.rs");
    }
    pub mod health {
        include!("generated/grpc.health.v1.rs");
    }
}

pub use generated::{account, fraud, health};
