//! Serving HTTP on a connection that is already accepted, detected and, where it must be, verified.
//!
//! One handler serves both versions: request in, response out, bodies streaming. A handler's future is
//! dropped when its caller goes away, and with it everything that it was doing upstream.

mod http1;
mod http2;

pub use http1::http1;
pub use http2::http2;

use crate::worker::{Drain, Phase};

/// When a connection's caller is told to go elsewhere.
#[derive(Debug, Clone)]
pub struct UntilDrain {
    /// What is watched.
    pub drain: Drain,
    /// From when on.
    pub phase: Phase,
}

impl UntilDrain {
    async fn reached(&mut self) {
        self.drain.reached(self.phase).await;
    }
}
