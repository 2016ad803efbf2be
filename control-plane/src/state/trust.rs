//! The mesh's roots, as proxies are told of them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use tracing::warn;
use usher_config::{model::TrustBundle, value::TrustDomain};

use crate::registry::StoreError;

use super::{State, configuration::Configuration, configure, lock};

impl State {
    /// The roots that proxies shall trust. The first call fixes the mesh's trust domain for good.
    pub async fn set_trust_bundle(&self, bundle: TrustBundle) {
        let _writing = self.0.writer.lock().await;
        let (domain, version) = (bundle.trust_domain.clone(), bundle.version);
        *lock(&self.0.bundle) = Some(bundle);
        let current = self.0.configuration.load_full();
        if current.world.fixed_domain.as_ref() != Some(&domain) {
            let state = self.clone();
            let fixed = configure::off_thread(move || state.fix(domain)).await;
            if let Err(error) = fixed.and_then(|stored| stored) {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "trust domain not stored"
                );
            }
        }
        *lock(&self.0.bundle_at) = (version, self.changed());
        // At once: the first proxy needs it before anything else.
        self.publish(Instant::now());
    }

    /// The root that signs, DER, and the version of the roots in which it does.
    pub fn active_root(&self) -> Option<(Vec<u8>, u64)> {
        let bundle = lock(&self.0.bundle);
        let bundle = bundle.as_ref()?;
        Some((bundle.roots.first()?.clone(), bundle.version))
    }

    /// The version of the roots that proxies are told, how many of them have an SVID under which root, by its pin, and how
    /// many have not applied that version yet.
    pub fn trust_census(&self) -> (u64, BTreeMap<String, usize>, usize) {
        let (version, generation) = *lock(&self.0.bundle_at);
        let (by_root, behind) = self.0.connected.trust_census(generation);
        (version, by_root, behind)
    }

    /// Puts the trust domain in force, also when it cannot be stored. The caller holds `writer`.
    fn fix(&self, domain: TrustDomain) -> Result<(), StoreError> {
        let stored = self.0.store.set_trust_domain(&domain);
        let current = self.0.configuration.load_full();
        let mut world = current.world.clone();
        world.fixed_domain = Some(domain);
        let (rejected, remarks) = (current.rejected.clone(), current.remarks.clone());
        let mut next = Configuration::new(
            Some(&current),
            world,
            current.revisions.clone(),
            rejected,
            remarks,
        );
        next.waiting.clone_from(&current.waiting);
        self.0.configuration.store(Arc::new(next));
        stored
    }
}
