//! What became of each object, in Gateway API's words (`metav1.Condition`).

use serde::{Deserialize, Serialize};

/// An object that somebody wrote: the version in force, and what is to be said about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport {
    /// `HTTPRoute`.
    pub kind: String,
    /// `default` for the Mesh.
    pub namespace: String,
    /// Unique among its kind in the namespace.
    pub name: String,
    /// Where the version in force came from, below the configuration directory; empty: none ever was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The revision that brought the version in force, as far as is remembered; 0: none ever was.
    pub revision: u64,
    /// RFC 3339: when an object of this name was first accepted; empty: never.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub accepted_at: String,
    /// Connected proxies that run what they are told of it. Of several control planes: connected to this one.
    pub programmed: u32,
    /// Of so many that are told something of it.
    pub of: u32,
    /// `Accepted`, `ResolvedRefs` and `Programmed`; when there is something to say, `PartiallyInvalid` and `Warning`.
    pub conditions: Vec<ConditionReport>,
}

impl ObjectReport {
    /// The condition of a type.
    pub fn condition(&self, of: &str) -> Option<&ConditionReport> {
        self.conditions.iter().find(|one| one.r#type == of)
    }

    /// `Kind namespace/name`.
    pub fn title(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// One thing to know about an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConditionReport {
    /// `Accepted`: it is in force as it is written. `ResolvedRefs`: all that it refers to is there and may be referred to.
    /// `PartiallyInvalid`: only a part of it has effect. `Programmed`: all proxies that are told of it run it. `Warning`:
    /// it is in force, and perhaps not what was meant.
    pub r#type: String,
    /// Whether that is so.
    pub status: ConditionStatus,
    /// Why, in one word: `Accepted`, `Invalid`, `Conflicted`, `TargetNotFound`, `RefNotPermitted`, `Pending` …
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// The revision that it is about; of a refused text, which has none, the newest one.
    pub observed_revision: u64,
    /// RFC 3339: since when `status` is what it is, as far as this control plane has seen.
    pub last_transition_time: String,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can say: no proxy is there, or a file cannot be read.
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// How many objects are as they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ObjectsSummary {
    /// Written, in force or not.
    pub total: u32,
    /// With `Accepted: True`.
    pub accepted: u32,
    /// With `ResolvedRefs: False`.
    pub unresolved: u32,
    /// With `Programmed: True`.
    pub programmed: u32,
    /// With `Programmed: False`.
    pub not_programmed: u32,
}

impl ObjectsSummary {
    /// Of these.
    pub fn of(objects: &[ObjectReport]) -> Self {
        let with = |of: &str, status| {
            let has = |object: &&ObjectReport| {
                let condition = object.condition(of);
                condition.is_some_and(|condition| condition.status == status)
            };
            count(objects.iter().filter(has).count())
        };
        Self {
            total: count(objects.len()),
            accepted: with("Accepted", ConditionStatus::True),
            unresolved: with("ResolvedRefs", ConditionStatus::False),
            programmed: with("Programmed", ConditionStatus::True),
            not_programmed: with("Programmed", ConditionStatus::False),
        }
    }
}

/// More than can be counted is not there.
pub fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
