//! What only compiling shows about files, with the places in them: for `usher validate` and `usher diff`.

use serde::Serialize;
use usher_config::parse::Parsed;

use super::paint::{WARN, paint};
use crate::{
    compile::{
        Compiled, Finding, Reason,
        shadow::{FIRST_BY_NAME, Shadow, shadows, told},
    },
    registry::World,
    status::Condition,
    whatif::Places,
};

/// How many pairs of rules one finding shows.
const SHOWN_MAX: usize = 3;

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    #[serde(flatten)]
    condition: Condition,
    /// `file:line` of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// `file:line` of rules that lose requests, and of those that get them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Lost>,
}

/// A rule that loses requests, and the one that gets them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lost {
    /// Where the rule is written.
    at: String,
    /// Where the other one is.
    by: String,
}

/// Whether reading texts has not told of it already, with the line.
pub(super) fn is_news(finding: &Finding) -> bool {
    match finding.reason {
        Reason::Loosens
        | Reason::NotAllowedByListeners
        | Reason::NoMatchingListenerHostname
        | Reason::TooLarge
        | Reason::NoAddress
        | Reason::Denies
        | Reason::NoValidCaCertificate
        | Reason::NotEnforced
        | Reason::SharedHeader
        | Reason::Shadowed
        | Reason::Unreachable
        | Reason::LateFallback => true,
        Reason::Conflicted
        | Reason::TargetNotFound
        | Reason::RefNotResolved
        | Reason::RefNotPermitted
        // Nothing is fetched for a look at files.
        | Reason::NoKeys => false,
    }
}

/// `findings`: of `compiled`, which is `world`'s; `parsed`: where that is written.
pub(super) fn found(
    parsed: &Parsed,
    (world, compiled): (&World, &Compiled),
    findings: Vec<Finding>,
) -> Vec<Found> {
    let places = Places::new(parsed);
    let shadows = match findings.iter().any(|one| one.reason == Reason::Shadowed) {
        true => shadows(compiled),
        false => Vec::new(),
    };
    let told = told(world, compiled, &shadows);
    let found = findings.into_iter().map(|finding| {
        let same = told.iter().find(|(one, _)| *one == finding);
        Found {
            at: places.of(&finding.object, ""),
            rules: same.map_or_else(Vec::new, |(_, shadows)| rules(shadows, &places)),
            condition: Condition {
                object: finding.object.to_string(),
                reason: finding.reason.as_str().to_owned(),
                message: finding.message,
            },
        }
    });
    found.collect()
}

/// Of the rules that a finding is about the first.
fn rules(shadows: &[&Shadow<'_>], places: &Places<'_>) -> Vec<Lost> {
    let mut rules: Vec<Lost> = Vec::new();
    for shadow in shadows {
        let place = |label: &str| places.of_rule(label).and_then(|(_, _, at)| at);
        let both = place(&shadow.route.name).zip(place(&shadow.by.name));
        let lost = both.map(|(at, by)| Lost { at, by });
        rules.extend(lost.filter(|lost| !rules.contains(lost)));
        if rules.len() == SHOWN_MAX {
            break;
        }
    }
    rules
}

impl Found {
    /// Adds to what is said.
    pub(super) fn note(&mut self, words: &str) {
        self.condition.message += words;
    }

    /// Of two that are equal the first by name goes before; files that are read together are of one age, those of a
    /// control plane need not be.
    pub(super) fn note_ages(&mut self) {
        if self.condition.message.contains(FIRST_BY_NAME) {
            self.note(" (if this one is accepted before it, it is the other way round)");
        }
    }

    /// Whether it is about that.
    pub(super) fn is(&self, reason: Reason) -> bool {
        self.condition.reason == reason.as_str()
    }
}

/// As shown to people.
pub(super) fn lines(found: &Found) -> Vec<String> {
    let Found {
        condition,
        at,
        rules,
    } = found;
    let head = format!("{}: {}", condition.reason, condition.object);
    let at = at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
    let mut lines = vec![format!("{}{at}", paint(WARN, head))];
    lines.push(format!("  {}", condition.message));
    let pair = |Lost { at, by }: &Lost| format!("  {at}: asked after {by}");
    lines.extend(rules.iter().map(pair));
    lines
}
