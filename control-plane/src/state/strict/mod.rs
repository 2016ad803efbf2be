//! A service that is called in plaintext does not become `Strict` by the way.
//!
//! Whoever is listed would be refused from one moment to the next. So a change of configuration that makes a
//! running service `Strict` and does nothing else waits, like an edit with a mistake: what it would change stays as it is, all else flows. It comes
//! into force when nobody is listed any more, or when somebody says that they know: `usher apply --force`, or, where a
//! directory is served and no command passes by, `usher callers --dismiss`.
//!
//! A control plane whose instances are in its memory only knows nobody when it starts. So for [`KNOWN_AFTER`] nothing that
//! ran `Permissive` becomes `Strict`: sidecars come back within that time, and say whom they have seen.

mod hold;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, Weak},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::{info, warn};
use usher_config::{
    kind::{Kind, ObjectKey},
    model::MtlsMode,
    parse::Parsed,
    value::ServiceName,
};

use crate::{
    clock,
    registry::{World, callers::Caller, world::Reading},
    status::{CallerReport, MistakeReport, RejectedObject},
};

use super::{Configuration, Inner, State, lock};

/// After a start, until sidecars have said who calls them: those that were connected register again within 10 s, or a few
/// times that where thousands do at once.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(60);

/// How long a dismissal holds: for a change that is made at once, before or after it. Who calls afterwards is listed anew.
pub const DISMISSED_FOR: Duration = Duration::from_secs(600);

/// How late it is noticed that nobody is in the way any more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Callers that are named; `usher callers` lists them all.
const NAMED_MAX: usize = 3;

/// Services that are named for each object.
const SERVICES_MAX: usize = 5;

/// The reason of the condition.
pub(super) const REASON: &str = "PlaintextCallers";

/// What is known beside who calls.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Until then sidecars have not been heard.
    unknown_until: Option<(Instant, SystemTime)>,
    dismissed: Mutex<Dismissed>,
    waiting: Mutex<BTreeMap<ServiceName, Why>>,
}

#[derive(Debug, Default)]
struct Dismissed {
    all: Option<Instant>,
    services: BTreeMap<ServiceName, Instant>,
}

/// Why a service must not become `Strict`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// These would be refused.
    Callers(Vec<CallerReport>),
    /// Until then nobody knows.
    Unknown(SystemTime),
}

impl Guard {
    /// Of a control plane that starts now; `knows`: nothing ran, or who calls is in its store.
    pub(super) fn new(knows: bool) -> Self {
        let until = (!knows).then(|| {
            (
                Instant::now() + KNOWN_AFTER,
                SystemTime::now() + KNOWN_AFTER,
            )
        });
        Self {
            unknown_until: until,
            ..Self::default()
        }
    }

    fn is_dismissed(&self, service: &ServiceName, now: Instant) -> bool {
        let dismissed = lock(&self.dismissed);
        let until = [dismissed.all, dismissed.services.get(service).copied()];
        until.into_iter().flatten().any(|until| now < until)
    }
}

impl State {
    /// Lets what makes a service, or any, `Strict` come into force in spite of who is listed. Until the answer.
    pub fn dismiss_callers(&self, service: Option<ServiceName>) -> SystemTime {
        let (now, until) = (Instant::now(), Instant::now() + DISMISSED_FOR);
        let mut dismissed = lock(&self.0.guard.dismissed);
        dismissed.services.retain(|_, until| now < *until);
        match service {
            Some(service) => {
                warn!(%service, "plaintext callers dismissed: the service may become Strict for 10 min, whoever calls");
                dismissed.services.insert(service, until);
            }
            None => {
                warn!(
                    "plaintext callers of all services dismissed: any may become Strict for 10 min, whoever calls"
                );
                dismissed.all = Some(until);
            }
        }
        drop(dismissed);
        self.read_again();
        SystemTime::now() + DISMISSED_FOR
    }

    /// A directory is read again: what waits there may come into force.
    fn read_again(&self) {
        let count = &self.0.released;
        count.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Services that run `Permissive` and must not become `Strict`, and why.
    fn concerns(&self, configuration: &Configuration) -> BTreeMap<ServiceName, Why> {
        let (guard, now) = (&self.0.guard, Instant::now());
        let unknown = guard.unknown_until.filter(|(until, _)| now < *until);
        let mut listed: BTreeMap<String, Vec<CallerReport>> = BTreeMap::new();
        for caller in self.listed(Caller::is_at_a_port) {
            let service = format!("{}/{}", caller.namespace, caller.service);
            listed.entry(service).or_default().push(caller);
        }
        if listed.is_empty() && unknown.is_none() {
            return BTreeMap::new();
        }
        let inbound = configuration.compiled.inbound.iter();
        let permissive = inbound.filter(|(_, one)| one.mtls == MtlsMode::Permissive);
        let permissive = permissive.map(|(service, _)| service);
        let concerned = permissive.filter(|service| !guard.is_dismissed(service, now));
        let why = |service: &ServiceName| match (listed.remove(&service.to_string()), unknown) {
            (Some(callers), _) => Some((service.clone(), Why::Callers(callers))),
            (None, Some((_, until))) => Some((service.clone(), Why::Unknown(until))),
            (None, None) => None,
        };
        concerned.filter_map(why).collect()
    }

    /// Leaves of a reading what would lock callers out as it is in force, and says so. For which services, and why.
    pub(super) fn hold_strict(
        &self,
        before: &Configuration,
        reading: &mut Reading,
        (parsed, base): (&Parsed, &Path),
    ) -> BTreeMap<ServiceName, Why> {
        let has_a_word = |key: &ObjectKey| matches!(key.kind, Kind::Mesh | Kind::AccessPolicy);
        if !reading.changed.iter().any(has_a_word) {
            return BTreeMap::new();
        }
        let mut why = self.concerns(before);
        let concerned: BTreeSet<ServiceName> = why.keys().cloned().collect();
        if concerned.is_empty() {
            return why;
        }
        let mut next = reading.world.clone();
        let held = hold::hold(&before.world, &mut next, &concerned, SystemTime::now());
        let rejected = held.iter().map(|(object, services)| {
            let concerns = services
                .iter()
                .filter_map(|name| Some((name, why.get(name)?)));
            let (file, line) = place(object, parsed, &before.world, base);
            RejectedObject {
                object: object.to_string(),
                last_good: before.world.objects.contains_key(object),
                reason: REASON.to_owned(),
                mistakes: vec![MistakeReport {
                    at: format!("{file}:{line}:1"),
                    path: "spec.mtls.mode".to_owned(),
                    message: message(&concerns.collect::<Vec<_>>()),
                }],
            }
        });
        let rejected = rejected.collect();
        let named: BTreeSet<&ServiceName> = held.values().flatten().collect();
        why.retain(|service, _| named.contains(service));
        if !held.is_empty() {
            reading.hold(&before.world, (next, rejected), (parsed, base));
        }
        why
    }

    /// Notes for what a directory's objects wait, as they were just read.
    pub(super) fn note_waiting(&self, why: BTreeMap<ServiceName, Why>) {
        *lock(&self.0.guard.waiting) = why;
    }

    /// Services that this would lock callers out of, in one line; `None`: it would not.
    pub(super) fn locks_out(&self, before: &Configuration, next: &World) -> Option<String> {
        let why = self.concerns(before);
        if why.is_empty() {
            return None;
        }
        let concerned = why.keys().cloned().collect();
        let locked = hold::locked(&before.world, next, &concerned);
        let concerns = locked
            .iter()
            .filter_map(|name| Some((name, why.get(name)?)));
        let concerns: Vec<_> = concerns.collect();
        (!concerns.is_empty()).then(|| facts(&concerns))
    }
}

/// Has a directory read again when somebody who was in the way of it is gone.
pub(super) async fn watch_callers(state: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(state) = state.upgrade().map(State) else {
            return;
        };
        let waiting = lock(&state.0.guard.waiting).clone();
        if waiting.is_empty() {
            continue;
        }
        let now = state.concerns(&state.0.configuration.load_full());
        let is_as_before = |(service, why): (&ServiceName, &Why)| {
            let same = |now: &Why| std::mem::discriminant(now) == std::mem::discriminant(why);
            now.get(service).is_some_and(same)
        };
        if !waiting.iter().all(is_as_before) {
            info!(
                "who calls in plaintext has changed: looking again at the changes that wait for it"
            );
            lock(&state.0.guard.waiting).clear();
            state.read_again();
        }
    }
}

/// Where an object stands, or stood.
fn place(object: &ObjectKey, parsed: &Parsed, before: &World, base: &Path) -> (String, u32) {
    let mut written = parsed.objects.iter();
    if let Some(located) = written.find(|located| located.object.key() == *object) {
        let file = located.file.strip_prefix(base).unwrap_or(&located.file);
        return (file.display().to_string(), located.line.max(1));
    }
    let file = before.objects.get(object).map(|one| one.file.to_string());
    (file.unwrap_or_default(), 1)
}

fn message(concerns: &[(&ServiceName, &Why)]) -> String {
    let service = match concerns {
        [(service, _)] => service.to_string(),
        _ => "SERVICE".to_owned(),
    };
    format!(
        "found Strict, allowed: Permissive while anybody is listed who calls in plaintext: {}. Move them into the mesh (a day \
         after its last call nobody is listed any more), or lock them out: usher apply --force, or where a directory is served, \
         usher callers {service} --dismiss. Whoever reaches the port can hold this up: it does not end by itself while they call",
        facts(concerns)
    )
}

fn facts(concerns: &[(&ServiceName, &Why)]) -> String {
    let named = concerns.iter().take(SERVICES_MAX);
    let said: Vec<String> = named.map(|(service, why)| said(service, why)).collect();
    let more = match concerns.len().saturating_sub(SERVICES_MAX) {
        0 => String::new(),
        more => format!("; and {more} more services"),
    };
    format!("{}{more}", said.join("; "))
}

fn said(service: &ServiceName, why: &Why) -> String {
    match why {
        Why::Callers(callers) => {
            let named = callers.iter().take(NAMED_MAX);
            let named: Vec<String> = named
                .map(|one| format!("{}, last seen {}", one.who(), one.last_seen))
                .collect();
            let more = match callers.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more (usher callers {service})"),
            };
            format!("{service} is called by {}{more}", named.join(", by "))
        }
        Why::Unknown(until) => format!(
            "who calls {service} is not known yet, because this control plane has just started: its sidecars have until {} to say",
            clock::text(*until)
        ),
    }
}
