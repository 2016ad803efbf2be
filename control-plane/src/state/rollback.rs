//! Going back: an earlier configuration becomes the newest revision, and is held whatever the source says, until it is
//! released. A directory's edits are still read and told of meanwhile, and come into force then.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use usher_config::{kind::ObjectKey, model::Revision};

use crate::registry::{
    Remarks, StoreError, World,
    history::{self, Earlier},
    store::{Origin, Stored, StoredObject},
    world::Reading,
};

use super::{
    Configuration, State,
    apply::{By, CONFLICTS_MAX},
    configure::{Next, off_thread},
};

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// There is no such revision, or too much came after it.
    #[error("revision {asked} is not remembered: there is {oldest} to {newest} (usher history)")]
    NotRemembered {
        /// What was asked for.
        asked: u64,
        /// The oldest that can be gone back to.
        oldest: u64,
        /// The newest.
        newest: u64,
    },
    /// Another version wrote it.
    #[error("revision {number} holds {object}, which this version cannot read")]
    Unreadable {
        /// Which revision.
        number: u64,
        /// An object in it.
        object: ObjectKey,
    },
    /// Nothing is held that could be released.
    #[error("no revision is held: configuration is as its source says")]
    NotPinned,
    /// See there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a revision did to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// As it was; `None`: the revision added it.
    pub before: Option<StoredObject>,
    /// As it became; `None`: the revision deleted it.
    pub after: Option<StoredObject>,
}

impl State {
    /// Makes a new revision of an earlier one, and holds it. The newest can be held as it is.
    ///
    /// # Errors
    /// [`RollbackError`]; nothing has changed.
    pub async fn roll_back(&self, to: u64, by: &By) -> Result<Revision, RollbackError> {
        // Before the first revision there was nothing: nobody means that, and apply asks for it in words.
        if to == 0 {
            return Err(not_remembered(&self.0.configuration.load(), to));
        }
        self.revise_whole(Wish::Earlier(to), by).await
    }

    /// Lets the source decide again: what it says comes into force from now on.
    ///
    /// # Errors
    /// [`RollbackError`]; nothing has changed.
    pub async fn release(&self, by: &By) -> Result<Revision, RollbackError> {
        self.revise_whole(Wish::Release, by).await
    }

    /// Whoever asked may be gone before it is done; then it is done all the same, whole.
    async fn revise_whole(&self, wish: Wish, by: &By) -> Result<Revision, RollbackError> {
        let (state, by) = (self.clone(), by.clone());
        let task = tokio::spawn(async move {
            let revision = state.revise(wish, &by).await?;
            // A directory is read again: what it has otherwise waits from now on, or comes into force.
            let count = &state.0.released;
            count.send_modify(|count| *count = count.wrapping_add(1));
            Ok(revision)
        });
        task.await
            .map_err(|error| StoreError::Storage(Box::new(error)))?
    }

    /// What a revision did.
    ///
    /// # Errors
    /// [`RollbackError::NotRemembered`]; the store failed.
    pub async fn changes(&self, number: u64) -> Result<BTreeMap<ObjectKey, Change>, RollbackError> {
        let current = self.0.configuration.load_full();
        let after = self.earlier(&current, number, |earlier| earlier).await?;
        let before = number.checked_sub(1);
        let missing = || not_remembered(&current, number);
        let before = before.ok_or_else(missing)?;
        let before = self.earlier(&current, before, |earlier| earlier).await?;
        let keys = before.objects.keys().chain(after.objects.keys());
        let change = |key: &ObjectKey| Change {
            before: before.objects.get(key).cloned(),
            after: after.objects.get(key).cloned(),
        };
        let all = keys.map(|key| (key.clone(), change(key)));
        // Where an object was written, and since when it is there, is no change of what it says.
        let text =
            |object: &Option<StoredObject>| object.as_ref().map(|object| object.text.clone());
        Ok(all
            .filter(|(_, change)| text(&change.before) != text(&change.after))
            .collect())
    }

    /// The configuration in force, as a store has it.
    pub fn in_force(&self) -> Stored {
        let current = self.0.configuration.load();
        let world = &current.world;
        let objects = world.objects.iter();
        Stored {
            objects: objects
                .map(|(key, object)| (key.clone(), object.stored()))
                .collect(),
            denied: world.denied.clone(),
            addresses: world.addresses.clone(),
            deleted: world.deleted.clone(),
            revisions: current.revisions.clone(),
            trust_domain: world.fixed_domain.clone(),
        }
    }

    /// What `make` makes of the configuration of an earlier revision.
    async fn earlier<T: Send + 'static>(
        &self,
        current: &Arc<Configuration>,
        number: u64,
        make: impl FnOnce(Earlier) -> T + Send + 'static,
    ) -> Result<T, RollbackError> {
        let newest = current.revisions.last().map_or(0, |record| record.number);
        let oldest = history::oldest(&current.revisions);
        if !(oldest..=newest).contains(&number) {
            return Err(not_remembered(current, number));
        }
        let (state, current) = (self.clone(), Arc::clone(current));
        let made = off_thread(move || {
            let objects = current.world.objects.iter();
            let mut earlier = Earlier {
                objects: objects
                    .map(|(key, object)| (key.clone(), object.stored()))
                    .collect(),
                denied: current.world.denied.clone(),
            };
            for later in ((number + 1)..=newest).rev() {
                earlier.undo(state.0.store.replaced(later)?);
            }
            Ok::<_, StoreError>(make(earlier))
        });
        Ok(made.await??)
    }

    /// Puts in force what somebody wishes, as a new revision.
    async fn revise(&self, wish: Wish, by: &By) -> Result<Revision, RollbackError> {
        let _writing = self.0.writer.lock().await;
        let mut current = self.0.configuration.load_full();
        let mut attempts = 0;
        loop {
            let (mut reading, pinned) = self.wished(&current, wish).await?;
            let went_back_to = match wish {
                Wish::Earlier(number) => Some(number),
                Wish::Release => None,
            };
            let (state, running, forced) = (self.clone(), Arc::clone(&current), by.forced);
            let (reading, locked_out) = off_thread(move || {
                let locked_out = state.waits(&running, &mut reading.world, (forced, went_back_to));
                (reading, locked_out)
            })
            .await?;
            let by = &locked_out.told_in(by);
            let next = Next {
                digest: reading.world.digest(),
                pinned,
                reading,
            };
            attempts += 1;
            match self.put(&current, next, Some(by)).await {
                Err(StoreError::Conflict { stored, expected }) if attempts <= CONFLICTS_MAX => {
                    current = self.overtaken(&current, (stored, expected)).await?;
                }
                done => return Ok(done?),
            }
        }
    }

    /// What the newest configuration becomes, and the revision that is held from then on.
    async fn wished(
        &self,
        current: &Arc<Configuration>,
        wish: Wish,
    ) -> Result<(Reading, Option<u64>), RollbackError> {
        let Wish::Earlier(number) = wish else {
            current.pinned().ok_or(RollbackError::NotPinned)?;
            return Ok((reading(&current.world, current.world.clone()), None));
        };
        let before = Arc::clone(current);
        let made = self.earlier(current, number, move |to| {
            let (world, unreadable) = before.world.going_back(to, SystemTime::now());
            (reading(&before.world, world), unreadable)
        });
        let (reading, unreadable) = made.await?;
        match unreadable.into_iter().next() {
            Some(object) => Err(RollbackError::Unreadable { number, object }),
            None => Ok((reading, Some(number))),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Earlier(u64),
    Release,
}

fn not_remembered(current: &Configuration, asked: u64) -> RollbackError {
    RollbackError::NotRemembered {
        asked,
        oldest: history::oldest(&current.revisions).max(1),
        newest: current.revisions.last().map_or(0, |record| record.number),
    }
}

fn reading(before: &World, world: World) -> Reading {
    Reading {
        changed: before.difference(&world),
        world,
        rejected: Vec::new(),
        remarks: Remarks::default(),
    }
}

impl By {
    /// Of somebody who goes back.
    pub fn rollback(to: u64, author: String, message: String) -> Self {
        Self {
            origin: Origin::Rollback(to),
            author,
            message,
            forced: false,
        }
    }
}

#[cfg(test)]
mod tests;
