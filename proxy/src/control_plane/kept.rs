//! The connection that is there already.

use std::sync::Arc;

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
}

impl Kept {
    /// The channel that was made for this, else one that `make` makes.
    pub(super) fn for_material(
        &self,
        material: Arc<Material>,
        make: impl FnOnce() -> Channel,
    ) -> Channel {
        let open = self.0.load();
        if let Some(open) = &*open
            && Arc::ptr_eq(&open.material, &material)
        {
            return open.channel.clone();
        }
        let channel = make();
        let open = Open {
            channel: channel.clone(),
            material,
        };
        self.0.store(Some(Arc::new(open)));
        channel
    }

    /// The next one is another one. Who is still using this one may go on.
    pub(super) fn forget(&self) {
        self.0.store(None);
    }
}
