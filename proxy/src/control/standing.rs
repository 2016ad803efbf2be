//! How this sidecar stands, in words for people: what it waits for, who it is, whether it may be that, how its
//! application does.
//!
//! `GET /standing` on the admin socket; `usher run` asks there and tells its user, instead of guessing from log lines.
//! Nothing decides by it inside the sidecar.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::health::Report;

/// How many of either are kept.
const NOTICES_MAX: usize = 100;

/// What the control plane has said about our identity and our service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "reason")]
pub enum Admission {
    /// Nothing yet.
    #[default]
    Pending,
    /// We may be it.
    Admitted,
    /// We may not: its words. Configuration may change its mind, so it is asked again.
    Refused(String),
}

/// Everything, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The SPIFFE ID we hold.
    pub identity: Option<String>,
    /// It is from an earlier run: no token was used.
    pub identity_kept: bool,
    /// Why we are not further: the last failure with the control plane.
    pub waiting_for: Option<String>,
    /// May we be the service whose name we were given?
    pub admission: Admission,
    /// The last check of our application; absent: it was not checked yet, or there is none.
    pub health: Option<Report>,
    /// Settings are still being compared with the mesh: there may be notices in a moment.
    pub checking: bool,
    /// It has an application, but nobody can call it: the mesh has no Service of its name.
    pub uncalled: bool,
    /// What is done otherwise than configured, now.
    pub remarks: Vec<String>,
    /// Of certificates whose files are not taken as they are now, by name: why, and what is shown meanwhile.
    pub unrenewed: BTreeMap<String, String>,
    /// Settings that will not work as they are, found out by asking the mesh.
    pub notices: Vec<String>,
}

impl Facts {
    /// What operators should hear of: what is done otherwise than configured, and otherwise than files say.
    pub fn for_operators(&self) -> Vec<String> {
        let all = self.remarks.iter().chain(self.unrenewed.values());
        all.take(NOTICES_MAX).cloned().collect()
    }
}

/// Written by the control thread's tasks, read by the admin socket. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<ArcSwap<Facts>>);

impl Standing {
    /// As it is now.
    pub fn load(&self) -> Arc<Facts> {
        self.0.load_full()
    }

    /// Changes something; all writers are tasks of one thread, so none is lost.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = Facts::clone(&self.0.load());
        change(&mut facts);
        facts.notices.truncate(NOTICES_MAX);
        facts.remarks.truncate(NOTICES_MAX);
        self.0.store(Arc::new(facts));
    }
}
