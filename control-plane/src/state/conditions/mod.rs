//! What became of each object, as Gateway API's conditions say it (`metav1.Condition`, GEP-1364, GEP-713).
//!
//! Derived from what else is known: which texts were refused, what the compiler found, what proxies acknowledged. An
//! object of which a part has effect is accepted, and `PartiallyInvalid` says which part has none; one of which nothing has
//! is not (`Conflicted`, `TargetNotFound` … are reasons of `Accepted: False`, as GEP-713 has it). A refused text leaves the
//! version before it in force: `Accepted` is about the text, everything else about what runs. Pure.

mod programmed;
mod transitions;

use crate::status::{Condition, ConditionReport, ConditionStatus, MistakeReport, RejectedObject};

pub(super) use programmed::{Proxies, Reached};
pub(super) use transitions::Transitions;

/// What is known of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'k> {
    /// The revision that brought the version in force; `None`: none ever was.
    pub(super) revision: Option<u64>,
    /// The newest of all.
    pub(super) newest: u64,
    /// Its newest text, if that is not in force.
    pub(super) refused: Option<&'k RejectedObject>,
    /// The file that it came from, if nobody can tell what is in there now.
    pub(super) unreadable: Option<&'k RejectedObject>,
    /// The revision that is held, if the source has another text of it since.
    pub(super) waits: Option<u64>,
    /// What does not do all that it says.
    pub(super) found: &'k [&'k Condition],
    /// Who is told of it.
    pub(super) reached: &'k Reached<'k>,
}

/// Reasons of which nobody should say that the object is wrong.
const WARNINGS: [&str; 8] = [
    "Warning",
    "PlaintextCallers",
    "LateFallback",
    "StaleKeys",
    "Denies",
    "NotAdmitted",
    "NoGateway",
    "NotFollowed",
];

/// Reasons that are about what an object refers to.
const REFERENCES: [&str; 3] = ["RefNotResolved", "RefNotPermitted", "NoKeys"];

/// What is said of a policy that closes what it was meant for.
const NEVER_VALID: &str = "no version of it was ever valid";

/// How many findings a condition tells in full.
const JOINED_MAX: usize = 5;

/// Everything that is to be said about an object. Since when, [`Transitions`] knows.
pub(super) fn conditions(known: &Known<'_>) -> Vec<ConditionReport> {
    let of = |words: &[&str]| -> Vec<&Condition> {
        let found = known.found.iter().copied();
        found
            .filter(|one| words.contains(&one.reason.as_str()))
            .collect()
    };
    let (warnings, references) = (of(&WARNINGS), of(&REFERENCES));
    let known_words = [WARNINGS.as_slice(), &REFERENCES].concat();
    let wrong: Vec<&Condition> = known
        .found
        .iter()
        .copied()
        .filter(|one| !known_words.contains(&one.reason.as_str()))
        .collect();
    // Nobody is told of it, or everybody has stopped following it.
    let is_idle = known.reached.nobody || wrong.iter().any(|one| one.reason == "Expired");
    let in_force = known.revision.unwrap_or(known.newest);
    let made = |of: &str, status, (reason, message): (&str, String)| ConditionReport {
        r#type: of.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        observed_revision: in_force,
        last_transition_time: String::new(),
    };
    // About a text that has no revision.
    let of_text = |status, why| ConditionReport {
        observed_revision: known.newest,
        ..made("Accepted", status, why)
    };
    let mut told = vec![match (known.refused, known.unreadable) {
        (Some(refused), _) => of_text(ConditionStatus::False, refusal(known, refused)),
        (None, Some(file)) => of_text(ConditionStatus::Unknown, doubt(known, file)),
        (None, None) if known.waits.is_some() => of_text(ConditionStatus::False, held(known)),
        (None, None) if known.revision.is_none() => {
            let message = format!("{NEVER_VALID}, so what it was meant for is closed");
            made("Accepted", ConditionStatus::False, ("NeverValid", message))
        }
        (None, None) if is_idle && !wrong.is_empty() => {
            made("Accepted", ConditionStatus::False, joined(&wrong))
        }
        (None, None) => {
            let message = format!("in force since revision {in_force}");
            made("Accepted", ConditionStatus::True, ("Accepted", message))
        }
    }];
    told.push(if references.is_empty() {
        let message = "all that it refers to is there".to_owned();
        let resolved = ("ResolvedRefs", message);
        match known.revision {
            Some(_) => made("ResolvedRefs", ConditionStatus::True, resolved),
            None => {
                let why = ("NotAccepted", "no version of it is in force".to_owned());
                made("ResolvedRefs", ConditionStatus::Unknown, why)
            }
        }
    } else {
        made("ResolvedRefs", ConditionStatus::False, joined(&references))
    });
    if !wrong.is_empty() && !is_idle {
        let partly = made("PartiallyInvalid", ConditionStatus::True, joined(&wrong));
        told.push(partly);
    }
    let accepted = told.first().cloned().unwrap_or_default();
    let (status, reason, message) = programmed::programmed(known.reached, in_force, &accepted);
    told.push(made("Programmed", status, (reason, message)));
    if !warnings.is_empty() {
        told.push(made("Warning", ConditionStatus::True, joined(&warnings)));
    }
    told
}

/// The first one's word, and what all say.
fn joined<'c>(found: &[&'c Condition]) -> (&'c str, String) {
    let word = found.first().map_or("", |one| one.reason.as_str());
    let say = |one: &&Condition| match one.reason == word {
        true => one.message.clone(),
        false => format!("{}: {}", one.reason, one.message),
    };
    let all: Vec<String> = found.iter().take(JOINED_MAX).map(say).collect();
    let all = all.join("; ");
    match found.len().saturating_sub(JOINED_MAX) {
        0 => (word, all),
        more => (word, format!("{all}; and {more} more: usher status")),
    }
}

fn held(known: &Known<'_>) -> (&'static str, String) {
    let fate = match known.revision {
        Some(revision) => format!("the version of revision {revision} stays in force"),
        None => "no version of it is in force".to_owned(),
    };
    let pinned = known.waits.unwrap_or(known.newest);
    let why = format!(
        "revision {pinned} is held, what the source says of it waits for `usher rollback --release`"
    );
    ("RevisionHeld", format!("{why}; {fate}"))
}

fn refusal(known: &Known<'_>, refused: &RejectedObject) -> (&'static str, String) {
    let fate = match known.revision {
        Some(revision) => format!("the version of revision {revision} stays in force"),
        None if known.reached.nobody => "it never ran".to_owned(),
        // A policy that never was valid closes what it was meant for.
        None => format!("{NEVER_VALID}, so what it was meant for is closed"),
    };
    ("Invalid", format!("{}; {fate}", mistakes(refused)))
}

fn doubt(known: &Known<'_>, file: &RejectedObject) -> (&'static str, String) {
    let fate = known.revision.map(|revision| {
        format!("; what is in force came with revision {revision} and stays until it can be read")
    });
    let why = mistakes(file);
    (
        "FileUnreadable",
        format!("{why}{}", fate.unwrap_or_default()),
    )
}

/// The first of them, and how many more.
fn mistakes(refused: &RejectedObject) -> String {
    let line = |one: &MistakeReport| match one.path.as_str() {
        "" => format!("{}: {}", one.at, one.message),
        path => format!("{}: {path}: {}", one.at, one.message),
    };
    let first = refused.mistakes.first().map(line);
    let first = first.unwrap_or_else(|| "refused".to_owned());
    match refused.mistakes.len().saturating_sub(1) {
        0 => first,
        more => format!("{first} (and {more} more: usher status)"),
    }
}

#[cfg(test)]
mod tests;
