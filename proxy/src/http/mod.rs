//! HTTP shared by all stories: bodies, serving, header edits, and the answers this proxy makes itself.

pub mod answer;
pub mod apart;
mod body;
pub mod error_response;
mod finish;
pub mod head;
pub mod headers;
mod interim;
pub mod outside;
pub mod peek;
pub mod pump;
mod replay;
pub mod serve;
pub mod silence;
pub mod strict;
mod tee;
pub mod tunnel;
pub mod unsaid;
pub mod upgrade;
pub mod watched;
pub mod windows;

pub use body::{Body, RecvBody};
pub use finish::{finish, refuse};
pub use interim::Interim;
pub use replay::{Replay, ReplayBody};
pub use tee::{CopyBody, CopyWatch, Fate, Tee};

#[cfg(test)]
mod tests;
