//! Keys of token issuers come in: from disk at the start, later from where policies say.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::{task::JoinSet, time::sleep_until};
use tracing::{info, warn};
use usher_config::value::{Jwks, JwksUri};
use uuid::Uuid;

use crate::{
    keys::{Fetcher, Schedule, keep, keep_only, restore},
    registry::StoreError,
};

use super::{Configuration, State, configure::off_thread, lock};

/// What became of a fetch; one that panicked is as good as any that failed.
type Fetched = Result<Jwks, Box<dyn std::error::Error + Send + Sync>>;

impl State {
    /// Puts the sets in force that were kept in `folder`, at once: for the start, before anybody is told anything.
    ///
    /// # Errors
    /// As everything that compiles.
    pub async fn restore_keys(&self, folder: &Path) -> Result<(), StoreError> {
        let kept = restore(folder);
        if kept.is_empty() {
            return Ok(());
        }
        lock(&self.0.fetched).extend(kept.iter().map(|(uri, (_, at))| (uri.clone(), *at)));
        let kept = kept.into_iter().map(|(uri, (jwks, _))| (uri, jwks));
        self.put_keys(kept).await?;
        self.publish(Instant::now());
        Ok(())
    }

    /// Fetches each set that some policy names, for ever: when it is new, and then as often as it says.
    pub async fn run_keys(&self, folder: PathBuf, fetcher: Fetcher) {
        let mut schedule = Schedule::default();
        let mut snapshots = self.snapshots();
        let mut fetches: JoinSet<(JwksUri, Fetched)> = JoinSet::new();
        let mut named = BTreeSet::new();
        loop {
            let wanted = self.0.configuration.load().compiled.key_sources.clone();
            schedule.follow(&wanted, Instant::now());
            if !wanted.keys().eq(&named) {
                named = wanted.into_keys().collect();
                self.forget_keys(&folder, named.clone()).await;
            }
            for uri in schedule.take_due(Instant::now()) {
                let fetcher = fetcher.clone();
                fetches.spawn(async move {
                    let asked = uri.clone();
                    // Apart, so that a panic has a name and is tried again.
                    let fetched = tokio::spawn(async move { fetcher.fetch(&asked).await }).await;
                    (uri, flat(fetched))
                });
            }
            let next = schedule.next();
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                () = sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {}
                Some(Ok((uri, fetched))) = fetches.join_next() => {
                    self.take_keys(&mut schedule, &folder, (uri, fetched)).await;
                }
            }
        }
    }

    async fn take_keys(
        &self,
        schedule: &mut Schedule,
        folder: &Path,
        (uri, fetched): (JwksUri, Fetched),
    ) {
        let jwks = match fetched {
            Ok(jwks) => jwks,
            Err(error) => {
                if schedule.failed(&uri, Instant::now(), chance()) {
                    let error: &(dyn std::error::Error + 'static) = &*error;
                    warn!(error, %uri, "keys not fetched, those before stay");
                }
                return;
            }
        };
        schedule.fetched(&uri, Instant::now());
        let now = SystemTime::now();
        lock(&self.0.fetched).insert(uri.clone(), now);
        let known = self.0.configuration.load().world.keys.get(&uri) == Some(&jwks);
        let (folder, one) = (folder.to_owned(), (uri.clone(), jwks.clone()));
        // Also what is known: it is as new as it was fetched.
        let kept = off_thread(move || keep(&folder, (&one.0, &one.1), now)).await;
        if let Ok(Err(error)) = kept {
            warn!(%error, %uri, "keys not kept for the next start");
        }
        if known {
            return;
        }
        info!(%uri, keys = jwks.keys().len(), "keys fetched");
        if let Err(error) = self.put_keys([(uri, jwks)]).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "keys not in force"
            );
        }
    }

    /// Of what no policy names any more nothing stays, also on disk.
    async fn forget_keys(&self, folder: &Path, named: BTreeSet<JwksUri>) {
        lock(&self.0.fetched).retain(|uri, _| named.contains(uri));
        let folder = folder.to_owned();
        if let Ok(Err(error)) = off_thread(move || keep_only(&folder, &named)).await {
            warn!(%error, "keys that no policy names are still on disk");
        }
    }

    /// Puts sets in force; those that no policy names any more go.
    async fn put_keys(
        &self,
        sets: impl IntoIterator<Item = (JwksUri, Jwks)>,
    ) -> Result<(), StoreError> {
        let _writing = self.0.writer.lock().await;
        let current = self.0.configuration.load_full();
        let mut world = current.world.clone();
        world.keys.extend(sets);
        let wanted = &current.compiled.key_sources;
        world.keys.retain(|uri, _| wanted.contains_key(uri));
        let before = Arc::clone(&current);
        let next = off_thread(move || {
            let (rejected, remarks) = (before.rejected.clone(), before.remarks.clone());
            let next = Configuration::new(
                Some(&before),
                world,
                before.revisions.clone(),
                rejected,
                remarks,
            );
            Configuration {
                waiting: before.waiting.clone(),
                ..next
            }
        });
        let next = next.await?;
        self.0.configuration.store(Arc::new(next));
        self.changed();
        Ok(())
    }
}

fn flat<E: std::error::Error + Send + Sync + 'static>(
    joined: Result<Result<Jwks, E>, tokio::task::JoinError>,
) -> Fetched {
    Ok(joined??)
}

/// From 0 to 1, so that many control planes do not ask an issuer at the same moment when it is back.
fn chance() -> f64 {
    let drawn = Uuid::new_v4().as_u128() % 1_000;
    f64::from(u16::try_from(drawn).unwrap_or(0)) / 1_000.0
}

#[cfg(test)]
mod tests;
