//! HTTP/2 flow control: how much of a body may be under way before somebody takes it.
//!
//! A stream whose taker stands still holds its own window, and a part of the connection's that everybody else needs
//! too. So a connection's window is that of [`CONNECTION_WINDOW`]` / `[`STREAM_WINDOW`] streams, and the pool puts no
//! more streams than that on one connection. Unread bodies are bounded by these windows and by nothing else.

use std::time::Duration;

/// Per stream, in bytes. Eight megabytes a second at a round trip of 16 ms; a message of this size needs no window
/// update at all. Larger ones would be held in memory for every caller that stops reading.
pub const STREAM_WINDOW: u32 = 128 * 1024;

/// Per connection of applications and sidecars, in bytes: 128 streams that all stand still.
pub const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Per connection of an outsider, in bytes: who stands still there holds up only itself.
pub const OUTSIDERS_WINDOW: u32 = 1024 * 1024;

/// How long a stream that was reset is remembered: its peer hears of it within a round trip, and says no more. A longer time
/// would only fill the table with what nobody sends to any more.
pub const RESET_STREAM_KEPT: Duration = Duration::from_secs(1);

/// What may wait in `h2` for one stream beyond its peer's window, in bytes.
pub const SEND_BUFFER_MAX: usize = 64 * 1024;
