//! What operators read (REST, metrics: [`rest`]) and ask for (the Unix socket: [`operator`]).
//!
//! Two doors on purpose. REST is read only and needs no proof, so it listens on loopback unless told otherwise.
//! What gives power (tokens) is behind a Unix socket with mode 0600: who may open it is the kernel's decision.

mod answer;
pub mod operator;
pub mod rest;
