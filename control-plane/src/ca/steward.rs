//! Keeps this control plane able to sign, and its roots those of the mesh: every two seconds it reads what is shared, does
//! what is left to do, and says what it has. Nothing is lost when a turn fails: the next one does it.

mod heard;
mod operations;
mod report;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard};
use tracing::{info, warn};

use super::{
    Authority,
    authority::AuthorityError,
    issuer::{Asked, Step},
    roots::{RootError, short},
    svid::ProvenKey,
    trust::{Census, Grant, Shared, Signer, Time, TrustError, TrustStore},
};

pub use operations::Rotated;
pub use report::{CaReport, ControlPlaneReport, RootReport};

/// From one turn to the next.
pub const TURN: Duration = Duration::from_secs(2);

/// What was said is said again after this long, so that others know that we live.
const SAY_AGAIN: time::Duration = time::Duration::seconds(5);

/// A control plane of which nothing new was heard for so long, by our clock, does not live, or does not reach the store.
const SILENT: Duration = Duration::from_secs(15);

/// A control plane that was last heard so long ago, and whose intermediate has ended, is forgotten.
const FORGET_AFTER: time::Duration = time::Duration::days(8);

/// What our sidecars have, and the version of the roots that they are compared with.
pub type Count = Arc<dyn Fn() -> (u64, Census) + Send + Sync>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum StewardError {
    /// The files, or the certificates in them.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What was asked for is not possible now.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Two meshes in one.
    #[error(
        "the store has other roots of version {version} than this control plane: it was emptied or set back, and others went on \
         from there. Start one of both kinds anew, with an empty data directory"
    )]
    Diverged {
        /// Of both.
        version: u64,
    },
    /// Two were changing the roots.
    #[error("somebody else has just changed the roots: look at `usher ca status`, and try again")]
    Overtaken,
}

/// One per control plane.
pub struct Steward {
    authority: Arc<Authority>,
    store: Arc<dyn TrustStore>,
    count: Count,
    name: String,
    own: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    /// An intermediate that we asked for.
    asked: Option<Asked>,
    said: Option<Signer>,
    /// What the others said last, and when we saw it first: their clocks are not ours.
    heard: HashMap<String, (OffsetDateTime, Instant)>,
    /// When we stopped signing under other roots, by their pins; `None`: not looked up yet.
    left: Option<BTreeMap<String, Time>>,
    /// Why there is no fresh intermediate, or no new root from given files.
    trouble: Option<StewardError>,
}

impl Own {
    fn hear(&mut self, shared: &Shared, id: &str) {
        let now = Instant::now();
        self.heard.retain(|id, _| shared.signers.contains_key(id));
        for (id, signer) in &shared.signers {
            let heard = self
                .heard
                .entry(id.clone())
                .or_insert((signer.said_at, now));
            if heard.0 != signer.said_at {
                *heard = (signer.said_at, now);
            }
        }
        if self.left.is_none() {
            let said = shared.signers.get(id);
            self.left = Some(said.map(|said| said.left.clone()).unwrap_or_default());
        }
    }

    /// Whether a control plane lives and reaches the store, as far as we have heard.
    fn lives(&self, id: &str) -> bool {
        let heard = self.heard.get(id);
        heard.is_some_and(|(_, at)| at.elapsed() < SILENT)
    }
}

impl Steward {
    /// For `authority`, whose sidecars `count` counts; `name` is for people.
    pub fn new(
        authority: Arc<Authority>,
        store: Arc<dyn TrustStore>,
        (count, name): (Count, String),
    ) -> Self {
        Self {
            authority,
            store,
            count,
            name,
            own: Mutex::default(),
        }
    }

    /// For ever. What cannot be done now is tried again with the next turn.
    pub async fn run(self: Arc<Self>) {
        let mut failing = false;
        loop {
            tokio::time::sleep(TURN).await;
            match self.turn(OffsetDateTime::now_utc()).await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error: &dyn std::error::Error = &error;
                        warn!(error, "the authority is not kept up: trying again");
                    }
                }
            }
        }
    }

    /// One turn.
    ///
    /// # Errors
    /// What cannot be read, written or signed.
    pub async fn turn(&self, now: OffsetDateTime) -> Result<(), StewardError> {
        let mut own = self.own.lock().await;
        self.turn_with(&mut own, now).await?;
        own.trouble.take().map_or(Ok(()), Err)
    }

    async fn turn_with(
        &self,
        own: &mut MutexGuard<'_, Own>,
        now: OffsetDateTime,
    ) -> Result<Shared, StewardError> {
        let shared = self.store.read().await?;
        own.hear(&shared, self.authority.id());
        // Whatever it is: the others are still to be served, and to know that we live.
        let agreed = self.agree(&shared).await;
        let offered = self.offer_given_root(&shared, now).await;
        let tended = self.tend(own, &shared, now);
        let granted = self.grant(own, &shared, now).await;
        own.trouble = agreed.and(offered).and(tended).and(granted).err();
        self.say(own, now).await?;
        self.forget_dead(&shared, now).await?;
        Ok(shared)
    }

    /// Takes newer roots; and puts ours back into a store that was emptied or set back, as everybody's sidecars have them.
    async fn agree(&self, shared: &Shared) -> Result<(), StewardError> {
        let own = self.authority.roots();
        match &shared.roots {
            Some(roots) if roots.version > own.version => {
                self.authority.adopt(roots.clone());
                info!(version = roots.version, "the mesh's roots have changed");
            }
            Some(roots) if roots == &*own => {}
            Some(roots) if roots.version == own.version => {
                let version = own.version;
                return Err(StewardError::Diverged { version });
            }
            Some(_) | None => {
                if self.store.write_roots((*own).clone()).await? {
                    warn!(
                        version = own.version,
                        "the store had lost the mesh's roots, they are back"
                    );
                }
            }
        }
        Ok(())
    }

    /// A new root in given files is made known to everybody; it signs when an operator says so.
    async fn offer_given_root(
        &self,
        shared: &Shared,
        now: OffsetDateTime,
    ) -> Result<(), StewardError> {
        let Some(given) = self.authority.unknown_given(now)? else {
            return Ok(());
        };
        let Some(roots) = &shared.roots else {
            return Ok(());
        };
        // Each turn comes by here, and would record one more certificate that nobody gets.
        roots.has_room()?;
        let root = self.authority.given_root(given, now)?;
        let pin = short(&root.pin);
        let next = roots.add(root)?;
        if self.store.write_roots(next.clone()).await? {
            info!(
                root = pin,
                "the given files have a new root: now trusted, it signs after `usher ca rotate`"
            );
            self.authority.adopt(next);
        }
        Ok(())
    }

    fn tend(
        &self,
        own: &mut Own,
        shared: &Shared,
        now: OffsetDateTime,
    ) -> Result<(), StewardError> {
        let roots = self.authority.roots();
        let granted = shared.grants.get(self.authority.id());
        let answered = own.asked.take_if(|asked| {
            granted.is_some_and(|grant| asked.is_answered_by(&grant.certificate, &roots))
        });
        let before = self.authority.issuer().map(|issuer| issuer.root);
        if let (Some(asked), Some(grant)) = (answered, granted) {
            self.authority
                .install(&asked, grant.certificate.clone().into())?;
        }
        let active = self.authority.pin();
        let tended = self.authority.tend_issuer(now);
        if let Some(before) = before
            && self
                .authority
                .issuer()
                .is_some_and(|issuer| issuer.root != before)
        {
            own.left.get_or_insert_default().insert(before, Time(now));
        }
        match tended? {
            Step::Stay | Step::Make => own.asked = None,
            Step::Ask
                if own
                    .asked
                    .as_ref()
                    .is_some_and(|asked| asked.wanted.root == active) => {}
            Step::Ask => {
                info!(root = short(&active), "asking for an intermediate");
                own.asked = Some(Asked::of(&active).map_err(AuthorityError::Sign)?);
            }
        }
        Ok(())
    }

    /// Signs for control planes that have asked, and have no answer yet.
    async fn grant(
        &self,
        own: &Own,
        shared: &Shared,
        now: OffsetDateTime,
    ) -> Result<(), StewardError> {
        let mut trouble = Ok(());
        for (id, signer) in &shared.signers {
            let Some(wanted) = &signer.wants else {
                continue;
            };
            let Ok(key) = ProvenKey::from_csr(&wanted.csr) else {
                continue;
            };
            let granted = shared.grants.get(id);
            let is_active = wanted.root == self.authority.pin();
            let is_done = granted.is_some_and(|grant| key.is_in(&grant.certificate));
            if is_done || !is_active || !own.lives(id) || id == self.authority.id() {
                continue;
            }
            let signed = self
                .authority
                .sign_intermediate(&wanted.root, (&key, id), now);
            if let Err(error) = signed {
                trouble = Err(error.into());
            } else if let Ok(Some(signed)) = signed {
                info!(
                    control_plane = id,
                    name = signer.name,
                    "intermediate signed for another control plane"
                );
                let certificate = signed.to_vec();
                self.store.grant(id.clone(), Grant { certificate }).await?;
            }
        }
        trouble
    }

    fn signer(&self, own: &Own, now: OffsetDateTime) -> Result<Signer, StewardError> {
        let (version, census) = (self.count)();
        Ok(Signer {
            name: self.name.clone(),
            issuer: self.authority.issuer(),
            keys: self.authority.keys()?,
            given: self.authority.given_pin(now).into_iter().collect(),
            wants: own.asked.as_ref().map(|asked| asked.wanted.clone()),
            version,
            census,
            left: own.left.clone().unwrap_or_default(),
            said_at: now,
        })
    }

    async fn say(&self, own: &mut Own, now: OffsetDateTime) -> Result<(), StewardError> {
        let signer = self.signer(own, now)?;
        let is_said = own.said.as_ref().is_some_and(|said| {
            let same = Signer {
                said_at: said.said_at,
                ..signer.clone()
            };
            same == *said && now - said.said_at < SAY_AGAIN
        });
        if !is_said {
            self.store
                .say(self.authority.id().to_owned(), signer.clone())
                .await?;
            own.said = Some(signer);
        }
        Ok(())
    }

    async fn forget_dead(&self, shared: &Shared, now: OffsetDateTime) -> Result<(), StewardError> {
        for (id, signer) in &shared.signers {
            let is_over = signer.issuer.as_ref().is_none_or(|one| one.not_after < now);
            if is_over && now - signer.said_at > FORGET_AFTER {
                self.store.forget(id.clone()).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
