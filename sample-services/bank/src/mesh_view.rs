//! What sidecars and the teller tell about themselves, as the launcher reads it.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One breaker of a sidecar, from its admin socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Breaker {
    /// The dependency it guards: `fraud-detection.bank`.
    pub(crate) service: String,
    /// `Closed`, `Open` or `HalfOpen`.
    pub(crate) state: String,
    /// What configuration says in place of the window: `No`, `Open` or `Closed`.
    #[serde(default)]
    pub(crate) forced: String,
    /// Counts the transitions.
    #[serde(default)]
    pub(crate) generation: u64,
}

/// One thing the control plane complains about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Its newest text is not in force; else it is, and does not do all that it says.
    pub(crate) is_rejected: bool,
    /// `Kind namespace/name`, or a file that names none.
    pub(crate) object: String,
    /// `file:line:column`; empty when it is about the whole object.
    pub(crate) at: String,
    pub(crate) message: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_rejected {
            "rejected"
        } else {
            "look at"
        };
        let at = if self.at.is_empty() { "" } else { " at " };
        let (object, place, message) = (&self.object, &self.at, &self.message);
        write!(formatter, "{what}: {object}{at}{place}: {message}")
    }
}

/// What `/v1/status` says that needs somebody's attention.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Complaints {
    rejected: Vec<Rejected>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
struct Rejected {
    object: String,
    mistakes: Vec<Mistake>,
}

#[derive(Debug, Clone, Deserialize)]
struct Mistake {
    at: String,
    path: String,
    message: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Condition {
    object: String,
    reason: String,
    message: String,
}

impl Complaints {
    /// One for each mistake, then one for each condition.
    pub(crate) fn troubles(self) -> Vec<Trouble> {
        let rejected = self.rejected.into_iter().flat_map(|rejected| {
            let object = rejected.object;
            rejected.mistakes.into_iter().map(move |mistake| {
                let colon = if mistake.path.is_empty() { "" } else { ": " };
                Trouble {
                    is_rejected: true,
                    object: object.clone(),
                    at: mistake.at,
                    message: format!("{}{colon}{}", mistake.path, mistake.message),
                }
            })
        });
        let conditions = self.conditions.into_iter().map(|condition| Trouble {
            is_rejected: false,
            object: condition.object,
            at: String::new(),
            message: format!("{}: {}", condition.reason, condition.message),
        });
        rejected.chain(conditions).collect()
    }
}

/// What the teller has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TellerStats {
    /// It made all the payments it was to make.
    pub(crate) done: bool,
    pub(crate) elapsed_ms: u64,
    pub(crate) sent: u64,
    /// Paid.
    pub(crate) ok: u64,
    /// Accepted, and to be finished without the caller.
    pub(crate) pending: u64,
    /// Refused for a reason of the bank: funds, fraud.
    pub(crate) declined: u64,
    /// Everything else: somebody did not do his part.
    pub(crate) failed: u64,
    /// Not begun because too many were under way.
    pub(crate) skipped: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// Who assessed the payments, and how many.
    pub(crate) engines: BTreeMap<String, u64>,
    /// Answers by HTTP status; "0" is no answer.
    pub(crate) statuses: BTreeMap<String, u64>,
}

impl TellerStats {
    /// Reads what the teller wrote last.
    ///
    /// # Errors
    /// Before it wrote anything.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("cannot understand {}", path.display()))
    }

    /// Payments that were answered, whatever the answer.
    pub(crate) fn answered(&self) -> u64 {
        self.ok + self.pending + self.declined + self.failed
    }

    /// How many payments this engine assessed.
    pub(crate) fn engine(&self, name: &str) -> u64 {
        self.engines.get(name).copied().unwrap_or_default()
    }

    /// The failures for people: how many, and the last one's words.
    pub(crate) fn failed_text(&self) -> String {
        let last = self.last_error.as_deref().unwrap_or("none");
        format!(
            "{} did (answers by status {:?}, last error: {last})",
            self.failed, self.statuses
        )
    }

    /// What both did together. Latencies and words are those of the later one.
    pub(crate) fn plus(&self, later: &Self) -> Self {
        let each = |one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>| {
            let mut sum = one.clone();
            for (key, count) in other {
                *sum.entry(key.clone()).or_default() += count;
            }
            sum
        };
        Self {
            elapsed_ms: self.elapsed_ms + later.elapsed_ms,
            sent: self.sent + later.sent,
            ok: self.ok + later.ok,
            pending: self.pending + later.pending,
            declined: self.declined + later.declined,
            failed: self.failed + later.failed,
            skipped: self.skipped + later.skipped,
            engines: each(&self.engines, &later.engines),
            statuses: each(&self.statuses, &later.statuses),
            ..later.clone()
        }
    }

    /// What happened between `earlier` and now. Latencies are those of now: they are no counts.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        let each = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            let before = |key| then.get(key).copied().unwrap_or_default();
            now.iter()
                .map(|(key, count)| (key.clone(), less(*count, before(key))))
                .collect()
        };
        Self {
            elapsed_ms: less(self.elapsed_ms, earlier.elapsed_ms),
            sent: less(self.sent, earlier.sent),
            ok: less(self.ok, earlier.ok),
            pending: less(self.pending, earlier.pending),
            declined: less(self.declined, earlier.declined),
            failed: less(self.failed, earlier.failed),
            skipped: less(self.skipped, earlier.skipped),
            engines: each(&self.engines, &earlier.engines),
            statuses: each(&self.statuses, &earlier.statuses),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
