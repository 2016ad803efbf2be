//! Holds the current SVID and bundle, and publishes new handshake material whenever one of them changes.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use tracing::{info, warn};

use usher_config::model::TrustBundle;

use super::{Last, OldRoot, Svid, SvidError, due, due_under_old_root};
use crate::{
    state_dir::StateDir,
    tls::{Leaf, Material},
};

/// The only writer of the material.
#[derive(Debug)]
pub struct Keeper {
    directory: StateDir,
    svid: Svid,
    material: Arc<ArcSwap<Material>>,
    /// Another root signs than the one that our SVID leads to.
    under_old_root: Option<OldRoot>,
}

impl Keeper {
    /// Publishes the first material and keeps the SVID for the next run.
    ///
    /// # Errors
    /// When key, certificate and roots do not fit. A file that cannot be written is only logged: we have what we
    /// need, a restart will need a token.
    pub fn new(directory: StateDir, svid: Svid) -> Result<Self, SvidError> {
        let material = svid.material().map_err(SvidError::Material)?;
        let keeper = Self {
            directory,
            svid,
            under_old_root: (!material.is_under_active).then(old_root),
            material: Arc::new(ArcSwap::from_pointee(material)),
        };
        keeper.save();
        Ok(keeper)
    }

    /// What handshakes use; workers load it once per handshake.
    pub fn material(&self) -> Arc<ArcSwap<Material>> {
        self.material.clone()
    }

    /// Our own certificate.
    pub fn leaf(&self) -> &Leaf {
        &self.svid.leaf
    }

    /// When the next SVID is due; see [`due`].
    pub fn due(&self, last: Last, chance: f64) -> SystemTime {
        match self.under_old_root {
            Some(old) => due_under_old_root((self.leaf(), old), last, chance),
            None => due(self.leaf(), last, chance),
        }
    }

    /// Of the mesh that we are of, in DER.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.svid.bundle.roots
    }

    /// Puts a renewed SVID in place. The newer of both bundles stays.
    ///
    /// # Errors
    /// When it is not for the same identity, or does not fit together: the old one stays.
    pub fn replace_svid(&mut self, mut svid: Svid) -> Result<(), SvidError> {
        if svid.leaf.spiffe_id != self.svid.leaf.spiffe_id {
            return Err(SvidError::Mismatch { field: "spiffe_id" });
        }
        let newest = match self.svid.bundle.version > svid.bundle.version {
            true => self.svid.bundle.clone(),
            false => std::mem::replace(&mut svid.bundle, self.svid.bundle.clone()),
        };
        svid.former_roots.clone_from(&self.svid.former_roots);
        svid.follow(newest);
        self.publish(svid)?;
        if let Some(old) = &mut self.under_old_root {
            old.stayed = old.stayed.saturating_add(1);
        }
        info!(spiffe_id = %self.svid.leaf.spiffe_id, "svid renewed");
        Ok(())
    }

    /// Puts a new trust bundle in place. Resumption starts anew: no session outlives the roots it was verified by.
    ///
    /// # Errors
    /// When a root is unreadable or the bundle is another mesh's: the old one stays.
    pub fn replace_bundle(&mut self, bundle: TrustBundle) -> Result<(), SvidError> {
        if bundle == self.svid.bundle {
            return Ok(());
        }
        if bundle.trust_domain != self.svid.bundle.trust_domain {
            return Err(SvidError::Mismatch {
                field: "trust_domain",
            });
        }
        let version = bundle.version;
        let mut svid = self.svid.clone();
        svid.follow(bundle);
        self.publish(svid)?;
        info!(version, "trust bundle changed");
        Ok(())
    }

    fn publish(&mut self, svid: Svid) -> Result<(), SvidError> {
        let material = svid.material().map_err(SvidError::Material)?;
        self.svid = svid;
        self.under_old_root = match material.is_under_active {
            true => None,
            false => Some(self.under_old_root.unwrap_or_else(old_root)),
        };
        self.material.store(Arc::new(material));
        self.save();
        Ok(())
    }

    fn save(&self) {
        if let Err(error) = self.svid.save(&self.directory) {
            warn!(%error, "identity could not be kept: a restart will need a join token");
        }
    }
}

fn old_root() -> OldRoot {
    OldRoot {
        since: SystemTime::now(),
        stayed: 0,
    }
}
