//! The HTTP/2 connections to one port of one endpoint: usually one, a few under very many streams.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
};

use smallvec::SmallVec;
use tokio::{sync::watch, task::spawn_local, time::Instant};

use crate::{
    error::ProxyError,
    http::windows::{CONNECTION_WINDOW, STREAM_WINDOW},
    upstream::Hop,
};

/// Streams on one connection before another is opened: as many as its flow-control window has room for when every
/// one of them stands still, so that callers who do not read hold up nobody else.
const STREAMS_BEFORE_ANOTHER: u32 = CONNECTION_WINDOW / STREAM_WINDOW;

/// Connections of one worker to one port of one endpoint: together they carry the default of
/// `limits.maxConcurrentRequests`, 1,024.
const CONNECTIONS_MAX: usize = 8;

/// An unused connection goes after this time: long against the pauses of a service that is in use, short
/// against the life of an endpoint.
const IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(300);

type Dialled = Option<Result<Hop, ProxyError>>;

#[derive(Debug, Default)]
pub(super) struct Hops {
    open: RefCell<SmallVec<[Hop; 1]>>,
    dialling: RefCell<Option<watch::Receiver<Dialled>>>,
    /// Taken since the last look. Streams may be shorter than the time between two looks.
    taken: Cell<bool>,
    used: Cell<Option<Instant>>,
}

impl Hops {
    /// See [`super::Pool::hop`].
    pub(super) async fn take<F>(self: Rc<Self>, dial: impl FnOnce() -> F) -> Result<Hop, ProxyError>
    where
        F: Future<Output = Result<Hop, ProxyError>> + 'static,
    {
        if let Some(hop) = self.with_room() {
            return Ok(hop);
        }
        let dialling = self.dialling.borrow().clone();
        let mut dialled = match dialling {
            Some(dialled) => {
                // With it goes the place of a connection that somebody else is making.
                drop(dial);
                dialled
            }
            None => self.clone().start(dial()),
        };
        match dialled.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Err(ABANDONED)),
            Err(_) => {
                self.forget_abandoned();
                Err(ABANDONED)
            }
        }
    }

    /// A dial that panicked answers nobody, and must not keep others from dialling.
    fn forget_abandoned(&self) {
        let mut dialling = self.dialling.borrow_mut();
        if dialling
            .as_ref()
            .is_some_and(|dialled| dialled.has_changed().is_err())
        {
            *dialling = None;
        }
    }

    /// A connection on which a stream can begin at once.
    pub(super) fn with_room(&self) -> Option<Hop> {
        let mut open = self.open.borrow_mut();
        open.retain(|hop| !hop.is_closed());
        let least = open.iter().min_by_key(|hop| hop.active())?;
        if least.active() >= STREAMS_BEFORE_ANOTHER && open.len() < CONNECTIONS_MAX {
            return None;
        }
        self.taken.set(true);
        Some(least.clone())
    }

    /// The least busy connection, even if it is busy: where no other may be opened.
    pub(super) fn least_busy(&self) -> Option<Hop> {
        let mut open = self.open.borrow_mut();
        open.retain(|hop| !hop.is_closed());
        let least = open.iter().min_by_key(|hop| hop.active())?;
        self.taken.set(true);
        Some(least.clone())
    }

    fn start<F>(self: Rc<Self>, dial: F) -> watch::Receiver<Dialled>
    where
        F: Future<Output = Result<Hop, ProxyError>> + 'static,
    {
        let (answer, dialled) = watch::channel(None);
        *self.dialling.borrow_mut() = Some(dialled.clone());
        spawn_local(async move {
            let result = dial.await;
            if let Ok(hop) = &result {
                self.open.borrow_mut().push(hop.clone());
            }
            self.dialling.take();
            answer.send_replace(Some(result));
        });
        dialled
    }

    /// Lets go of connections that ended or idled; false when nothing is left.
    pub(super) fn sweep(&self) -> bool {
        let mut open = self.open.borrow_mut();
        open.retain(|hop| !hop.is_closed());
        let now = Instant::now();
        let busy = self.taken.take() || open.iter().any(|hop| hop.active() > 0);
        if busy || self.used.get().is_none() {
            self.used.set(Some(now));
        } else if self
            .used
            .get()
            .is_some_and(|used| now.duration_since(used) > IDLE_MAX)
        {
            open.clear();
        }
        !open.is_empty() || self.dialling.borrow().is_some()
    }
}

const ABANDONED: ProxyError = ProxyError::Internal {
    what: "a dial ended without an answer",
};
