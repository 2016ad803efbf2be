//! A request's body on its way, while its response is already coming.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt as _;
use tokio::task::{JoinHandle, spawn_local};

use crate::{error::ProxyError, http::pump::PumpError};

/// Dropping it stops it, which resets what it was sent on if it was not through.
#[derive(Debug)]
pub(super) enum Upload {
    Done,
    Failed(ProxyError),
    Running {
        task: JoinHandle<()>,
        failure: Rc<RefCell<Option<ProxyError>>>,
    },
}

impl Upload {
    /// Sends what is there at once; only a body that has to be waited for becomes a task.
    pub(super) fn start(sending: impl Future<Output = Result<(), PumpError>> + 'static) -> Self {
        let mut sending = Box::pin(sending);
        match (&mut sending).now_or_never() {
            Some(Ok(()) | Err(PumpError::Peer)) => return Self::Done,
            Some(Err(PumpError::Source(error))) => return Self::Failed(error),
            None => {}
        }
        let failure = Rc::new(RefCell::new(None));
        let told = failure.clone();
        let task = spawn_local(async move {
            if let Err(PumpError::Source(error)) = sending.await {
                *told.borrow_mut() = Some(error);
            }
        });
        Self::Running { task, failure }
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Why the body broke off, if it was not the peer's doing.
    pub(super) fn failure(&self) -> Option<ProxyError> {
        match self {
            Self::Done => None,
            Self::Failed(error) => Some(error.clone()),
            Self::Running { failure, .. } => failure.borrow().clone(),
        }
    }

    /// Ready when all has been sent, or nothing more will be.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        if let Self::Running { task, .. } = self {
            // A task that was aborted or panicked sends nothing more either.
            let _ = ready!(Pin::new(task).poll(cx));
            *self = self.failure().map_or(Self::Done, Self::Failed);
        }
        Poll::Ready(self.failure().map_or(Ok(()), Err))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Self::Running { task, .. } = self {
            task.abort();
        }
    }
}
