//! `usher serve --kubernetes` on what is in its cluster: the real binary, and a stand-in that speaks the API server's protocol.

#![cfg(feature = "kubernetes")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say what they have measured"
)]
#![allow(
    dead_code,
    reason = "tests/webhook.rs does more with the stand-in and the harness"
)]

mod api_server;
#[path = "webhook/client.rs"]
mod client;
#[path = "webhook/plane.rs"]
mod plane;

mod cluster {
    pub(crate) mod bank;
    mod follows;
    mod outages;
    mod statuses;
    mod large;
}
