//! Who calls this workload without the mesh's TLS: whoever makes it `Strict` must know whom that would lock out.
//!
//! A caller is the address that its connection comes from; what it says about itself counts for nothing. Each worker has
//! a table of its own and shows the others a copy, once a second at most and only when something has changed: a plaintext
//! connection costs three look-ups in it, a request within one that is let in nothing, and what comes over the mesh's TLS never gets here.
//! Connections on which nothing was said (a kubelet's or load balancer's TCP probe) are nobody's call.

mod table;
mod told;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use arc_swap::ArcSwap;

use crate::clock;

pub use table::{CALLERS_MAX, Call, FORGOTTEN_AFTER, Seen, Who, merged};
use table::{Fate, Table};
pub use told::{AGAIN_AFTER, Told};

/// What one worker shows.
type Shown = ArcSwap<Vec<(Who, Call)>>;

/// What all workers have seen, for who is no worker.
#[derive(Debug, Clone)]
pub struct Lists(Arc<[Shown]>);

impl Lists {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| ArcSwap::default()).collect())
    }

    /// Everybody seen lately, who was last seen first; as of up to a second ago.
    pub fn seen(&self) -> Vec<Seen> {
        let shown: Vec<_> = self.0.iter().map(ArcSwap::load_full).collect();
        merged(shown.iter().map(|list| list.as_slice()), clock::now())
    }
}

/// One worker's part.
#[derive(Debug, Clone)]
pub struct Callers {
    table: Rc<RefCell<Table>>,
    lists: Lists,
    worker: usize,
}

impl Callers {
    /// The part of a worker, which counts from 0.
    pub fn new(lists: Lists, worker: usize) -> Self {
        Self {
            table: Rc::default(),
            lists,
            worker,
        }
    }

    /// A connection, until the answer is dropped.
    pub fn call(&self, who: Who) -> Calling {
        self.table.borrow_mut().opened(who, clock::now());
        Calling {
            table: self.table.clone(),
            who,
            fate: Cell::default(),
        }
    }

    /// Shows what has changed to the others.
    pub fn show(&self) {
        let mut table = self.table.borrow_mut();
        if table.take_changed()
            && let Some(shown) = self.lists.0.get(self.worker)
        {
            shown.store(Arc::new(table.list()));
        }
    }
}

/// A connection without the mesh's TLS.
#[derive(Debug)]
#[must_use = "dropping says that it has ended"]
pub struct Calling {
    table: Rc<RefCell<Table>>,
    who: Who,
    fate: Cell<Fate>,
}

impl Calling {
    /// It asked for something, and gets it as far as mutual TLS goes. Of a connection's many requests the first costs a look-up.
    pub fn let_in(&self) {
        if self.fate.get() != Fate::LetIn {
            self.decided(Fate::LetIn);
        }
    }

    /// It asked for something, and does not get it for want of mutual TLS.
    pub fn refused(&self) {
        self.decided(Fate::Refused);
    }

    fn decided(&self, fate: Fate) {
        let before = self.fate.replace(fate);
        let mut table = self.table.borrow_mut();
        table.decided(self.who, (before, fate), clock::now());
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let now = clock::now();
        let fate = self.fate.get();
        self.table.borrow_mut().closed(self.who, fate, now);
    }
}
