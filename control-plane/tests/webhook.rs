//! The webhook as an API server meets it: the real binary, TLS that believes only the `caBundle`, AdmissionReviews.

#![cfg(feature = "kubernetes")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

#[allow(dead_code, reason = "tests/cluster.rs does more with it")]
mod api_server;
#[path = "bad/edits.rs"]
mod edits;

mod webhook {
    mod client;
    #[allow(dead_code, reason = "tests/cluster.rs does more with it")]
    mod plane;
    mod door;
    mod pods;
    mod configuration;
    mod trust;
}
