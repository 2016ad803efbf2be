//! What was acknowledged, and whether it is so. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A registration lives this long after its last renewal.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// A lease that is said to be over this much early is within the clocks' accuracy: etcd counts from when it was asked, and
/// in whole seconds.
const LEASE_ACCURACY: Duration = Duration::from_secs(2);

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registered {
    /// It, or a renewal, was acknowledged to a request that was made then.
    Since(Instant),
    /// It was acknowledged that it has left.
    Left,
    /// A request about it was not answered, or its lease may have ended: it may be there or not.
    Unknown(Instant),
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By number: digest and message, by whoever showed it first.
    revisions: BTreeMap<u64, Seen>,
    /// Revisions that were acknowledged, and the number of the configuration they were for.
    acknowledged: BTreeMap<u64, u64>,
    registrations: BTreeMap<String, Registered>,
    /// First characters of roots that were acknowledged and not retired since.
    roots: Vec<String>,
    broken: Vec<String>,
    pub(super) counts: Counts,
}

/// For the report.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub(super) struct Counts {
    pub(super) configurations_acknowledged: u64,
    pub(super) configurations_refused: u64,
    pub(super) configurations_unanswered: u64,
    pub(super) registrations_acknowledged: u64,
    pub(super) registrations_unanswered: u64,
    pub(super) renewals_acknowledged: u64,
    pub(super) renewals_unanswered: u64,
    pub(super) leases_ended_lawfully: u64,
    pub(super) departures_acknowledged: u64,
    pub(super) rotations_asked_for: u64,
    pub(super) roots_acknowledged: u64,
    pub(super) rotations_finished: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    digest: String,
    by: String,
}

/// A revision as a control plane shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Revision {
    pub(super) number: u64,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) message: String,
}

impl Ledger {
    /// What was found out so far, once.
    pub(super) fn take_broken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.broken)
    }

    pub(super) fn broke(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Somebody shows a revision: one number, one content, whoever is asked and whenever.
    pub(super) fn saw(&mut self, who: &str, revision: &Revision) {
        if revision.number == 0 {
            return;
        }
        let seen = Seen {
            digest: revision.digest.clone(),
            by: who.to_owned(),
        };
        let first = self.revisions.entry(revision.number).or_insert(seen);
        if first.digest != revision.digest {
            let (number, by, one, other) =
                (revision.number, &first.by, &first.digest, &revision.digest);
            self.broken.push(format!(
                "revision {number} is {one} at {by} and {other} at {who}"
            ));
        }
    }

    /// A configuration was acknowledged as this revision.
    pub(super) fn applied(&mut self, revision: u64, configuration: u64) {
        self.counts.configurations_acknowledged += 1;
        self.acknowledged.insert(revision, configuration);
    }

    /// The newest revision that was acknowledged.
    pub(super) fn newest(&self) -> u64 {
        self.acknowledged
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default()
    }

    /// A whole history: all that was acknowledged and is young enough is in it, as what it was acknowledged for.
    pub(super) fn check_history(&mut self, who: &str, history: &[Revision]) {
        for revision in history {
            self.saw(who, revision);
        }
        let (Some(oldest), Some(newest)) = (
            history.iter().map(|one| one.number).min(),
            history.iter().map(|one| one.number).max(),
        ) else {
            self.broke(format!("{who} has no history"));
            return;
        };
        let by_number: BTreeMap<u64, &Revision> =
            history.iter().map(|one| (one.number, one)).collect();
        let mut broken = Vec::new();
        for (number, configuration) in self.acknowledged.range(oldest..) {
            let held = by_number.get(number).map(|one| one.message.as_str());
            if held != Some(configuration.to_string().as_str()) {
                broken.push(format!(
                    "configuration {configuration} was acknowledged as revision {number}, which {who} shows as {held:?} \
                     (its newest is {newest})"
                ));
            }
        }
        self.broken.append(&mut broken);
    }

    /// A registration, or a renewal of it, was acknowledged to a request that was made at `asked`.
    pub(super) fn registered(&mut self, name: &str, asked: Instant) {
        let since = Registered::Since(asked);
        self.registrations.insert(name.to_owned(), since);
    }

    /// A request about it was not answered.
    pub(super) fn unanswered(&mut self, name: &str, now: Instant) {
        let unknown = Registered::Unknown(now);
        self.registrations.insert(name.to_owned(), unknown);
    }

    pub(super) fn left(&mut self, name: &str) {
        self.counts.departures_acknowledged += 1;
        self.registrations.insert(name.to_owned(), Registered::Left);
    }

    /// A rotation was asked for; `made`: the root that was acknowledged.
    pub(super) fn rotation(&mut self, made: Option<String>) {
        self.counts.rotations_asked_for += 1;
        if let Some(made) = made.filter(|made| !self.roots.contains(made)) {
            self.counts.roots_acknowledged += 1;
            self.roots.push(made);
        }
    }

    /// Roots that must be there.
    pub(super) fn roots(&self) -> Vec<String> {
        self.roots.clone()
    }

    /// All that was asked for is done, and the old roots are gone.
    pub(super) fn rotated(&mut self, some: bool) {
        self.counts.rotations_finished += u64::from(some);
        self.roots.clear();
    }

    /// It is said that there is no such lease.
    pub(super) fn gone(&mut self, name: &str, now: Instant) {
        if let Some(Registered::Since(since)) = self.registrations.get(name) {
            let age = now.saturating_duration_since(*since);
            if age + LEASE_ACCURACY < LEASE {
                self.broke(format!(
                    "the registration of {name} was lost {age:?} after it was acknowledged"
                ));
            } else {
                self.counts.leases_ended_lawfully += 1;
            }
        }
        self.unanswered(name, now);
    }

    /// What is wrong with the instances that somebody shows, if nothing was broken for a while.
    pub(super) fn wrong_instances(&self, shown: &[String], now: Instant) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, registered) in &self.registrations {
            let is_shown = shown.contains(name);
            match registered {
                Registered::Since(at) if !is_shown && now.duration_since(*at) < LEASE / 2 => {
                    wrong.push(format!("{name} was acknowledged and is not there"));
                }
                Registered::Left if is_shown => {
                    wrong.push(format!("{name} has left, and is there"));
                }
                Registered::Unknown(at) if is_shown && now.duration_since(*at) > 3 * LEASE => {
                    wrong.push(format!("{name} was not renewed for long, and is there"));
                }
                _ => {}
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64, digest: &str, message: &str) -> Revision {
        Revision {
            number,
            digest: digest.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_number_that_is_used_again_is_found() {
        let mut ledger = Ledger::default();
        ledger.saw("one", &revision(1, "a", ""));
        ledger.saw("two", &revision(1, "a", ""));
        assert!(ledger.take_broken().is_empty());
        ledger.saw("two", &revision(1, "b", ""));
        assert_eq!(ledger.take_broken().len(), 1);
    }

    #[test]
    fn what_was_acknowledged_and_is_not_in_the_history_is_found() {
        let mut ledger = Ledger::default();
        ledger.applied(2, 20);
        ledger.applied(4, 40);
        let mut history = vec![revision(3, "c", "30"), revision(4, "d", "40")];
        ledger.check_history("one", &history);
        assert!(ledger.take_broken().is_empty(), "2 is too old to be known");
        history[1].message = "41".to_owned();
        ledger.check_history("one", &history);
        assert_eq!(ledger.take_broken().len(), 1, "another's");
        ledger.check_history("two", &history[..1]);
        assert_eq!(ledger.take_broken().len(), 1, "lost");
    }

    #[test]
    fn a_lease_that_ends_early_is_found_and_one_that_ends_in_time_is_not() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        for (after, is_broken) in [(5, true), (12, true), (14, false), (60, false)] {
            ledger.registered("a", now);
            ledger.gone("a", now + Duration::from_secs(after));
            assert_eq!(!ledger.take_broken().is_empty(), is_broken, "{after}");
        }
    }

    #[test]
    fn instances_are_as_was_acknowledged() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        ledger.registered("there", now);
        ledger.left("left");
        ledger.unanswered("either", now);
        let shown = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert!(ledger.wrong_instances(&shown(&["there"]), now).is_empty());
        assert!(
            ledger
                .wrong_instances(&shown(&["there", "either"]), now)
                .is_empty()
        );
        assert_eq!(ledger.wrong_instances(&shown(&["left"]), now).len(), 2);
        let later = now + 4 * LEASE;
        assert_eq!(ledger.wrong_instances(&shown(&["either"]), later).len(), 1);
    }
}
