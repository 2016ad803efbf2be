//! `usher-proxy`: carries every call a service makes or receives.
//!
//! Modules are declared in the order in which a request meets them. The three stories, [`outbound`],
//! [`inbound`] and [`gateway`], read from top to bottom, one call per stage; stages know nothing of each other beyond
//! the foundations (`error`, `snapshot`, `telemetry`, `clock`).

// Foundations.
pub mod clock;
mod atomic;
pub mod error;
pub mod callers;
pub mod snapshot;
pub mod telemetry;

// The stories.
pub mod inbound;
pub mod outbound;
pub mod gateway;
pub mod guard;

// Stages, in the order in which bytes flow.
pub mod worker;
pub mod accept;
pub mod detect;
pub mod tls;
pub mod http;
pub mod tcp;
// Stage 4, and chance: pure, and shared with `usher route test`.
pub use usher_config::decide::{random, route};
pub mod policy;
pub mod balance;
pub mod pool;
pub mod upstream;

// Before there is a sidecar: the kernel's part.
pub mod intercept;

// The control thread.
pub mod bootstrap;
pub mod control;
pub mod control_plane;
pub mod state_dir;
pub mod identity;
pub mod health;
pub mod probe;
pub mod pod;
pub mod xds;
pub mod admin;

pub use control::main_with;
