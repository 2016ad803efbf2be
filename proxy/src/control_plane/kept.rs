//! The connection that is there already, and to whom it is.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;
use tonic::transport::Channel;

use crate::tls::Material;

/// Of all clones of a [`ControlPlane`](super::ControlPlane). Its channel must not hold it: both would live for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<ArcSwapOption<Open>>);

#[derive(Debug)]
struct Open {
    channel: Channel,
    /// What it was made for. A channel that connects again by itself may show newer ones.
    material: Arc<Material>,
    reached: Arc<Reached>,
}

/// What becomes of a line's connections, which its channel makes by itself.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Whose turn it was when it connected last, or is connecting.
    pub(super) turn: AtomicUsize,
    /// How many connections there were. Another one than the first: the control plane has sent us on to it (GOAWAY), or
    /// the one before broke.
    pub(super) connections: AtomicUsize,
}

/// A connection that others use too. Whoever finds that it does not do says so of this one
/// ([`ControlPlane::elsewhere`](super::ControlPlane::elsewhere)), not of the one that another may have made since.
#[derive(Debug, Clone)]
pub struct Line(Arc<Open>);

impl Line {
    /// For a call.
    pub fn channel(&self) -> Channel {
        self.0.channel.clone()
    }

    /// How many connections it has had until now; 0: it is still connecting for the first time.
    pub fn connections(&self) -> usize {
        self.0.reached.connections.load(Ordering::Relaxed)
    }

    pub(super) fn turn(&self) -> usize {
        self.0.reached.turn.load(Ordering::Relaxed)
    }
}

impl Kept {
    /// The line that was made for this, else one that `make` makes.
    pub(super) fn for_material(
        &self,
        material: Arc<Material>,
        make: impl FnOnce() -> (Channel, Arc<Reached>),
    ) -> Line {
        let open = self.0.load();
        if let Some(open) = &*open
            && Arc::ptr_eq(&open.material, &material)
        {
            return Line(Arc::clone(open));
        }
        let (channel, reached) = make();
        let open = Arc::new(Open {
            channel,
            material,
            reached,
        });
        self.0.store(Some(Arc::clone(&open)));
        Line(open)
    }

    /// Whether calls go over another line by now.
    pub(super) fn has_another_than(&self, line: &Line) -> bool {
        let kept = self.0.load();
        kept.as_ref()
            .is_some_and(|open| !Arc::ptr_eq(open, &line.0))
    }

    /// The next line is another one than this, if it is not already: then the answer is `false`. Who is still using this one
    /// may go on.
    pub(super) fn forget(&self, line: &Line) -> bool {
        let expected = self.0.load();
        let is_kept = expected
            .as_ref()
            .is_some_and(|open| Arc::ptr_eq(open, &line.0));
        is_kept && {
            let found = self.0.compare_and_swap(&expected, None);
            found
                .as_ref()
                .is_some_and(|open| Arc::ptr_eq(open, &line.0))
        }
    }
}
