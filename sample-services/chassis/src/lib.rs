//! What every service of the bank shares: settings, logs, traces, health, database, servers and clients.
//!
//! Nothing here knows of a mesh: calls go to plain URLs, through `http_proxy` if the environment names one.
//!
//! Environment that every service reads (all mistakes are reported together):
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `HOST` | IP address to listen on | `127.0.0.1` |
//! | `PORT` | port to listen on, 0 picks a free one | required where the service serves |
//! | `DATABASE_URL` | SQLite file: a path, `sqlite:PATH` or `sqlite://PATH` | required where the service stores |
//! | `RUST_LOG` | filter for the JSON log on stderr | `info` |
//! | `http_proxy`, `no_proxy` | proxy for outgoing calls, and hosts called without it | none |
//!
//! A service that serves writes `{"message":"listening","address":"…"}` to its log once it accepts.

pub mod settings;
pub mod rules;
pub mod logging;
pub mod shutdown;
pub mod clock;
pub mod trace;
pub mod problem;
pub mod fields;
pub mod rest;
pub mod grpc;
pub mod dial;
pub mod client;
pub mod database;
pub mod group_commit;
pub mod event;
pub mod fraud;
pub mod proto;
