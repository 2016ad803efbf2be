//! What would become of one object if it were put beside what is in force: the question of an admission.
//!
//! It is answered by what decides when an object comes: the decoder, [`World::read`] and the compiler. So it is refused here if and
//! only if it would be refused there, and what would be a condition there is a warning here.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, Weak},
    time::SystemTime,
};

use serde_json::Value;
use usher_config::{
    kind::ObjectKey,
    parse::{Located, Mistake, Severity, parse_object},
};

use super::{State, configuration::Configuration, lock};
use crate::{
    compile::{Finding, Reason, compile},
    registry::World,
    status::MistakeReport,
};

/// The candidate's file, as mistakes name it.
const NAME: &str = "this object";

/// What would become of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Why it would be refused; empty: it would come into force.
    pub mistakes: Vec<MistakeReport>,
    /// What its author may not expect, each in one line. Of one that is refused: fields that nobody knows, which may be what is
    /// missing, misspelt.
    pub warnings: Vec<String>,
}

/// The objects in force as a parser has them, made once for each configuration.
#[derive(Default)]
pub(super) struct Known(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    of: Weak<Configuration>,
    all: Arc<All>,
}

type All = BTreeMap<ObjectKey, Arc<Located>>;

impl Known {
    fn of(&self, configuration: &Arc<Configuration>) -> Arc<All> {
        let mut kept = lock(&self.0);
        if !std::ptr::eq(kept.of.as_ptr(), Arc::as_ptr(configuration)) {
            *kept = Kept {
                of: Arc::downgrade(configuration),
                all: Arc::new(located(&configuration.world)),
            };
        }
        Arc::clone(&kept.all)
    }
}

fn located(world: &World) -> All {
    let objects = world.objects.iter();
    objects
        .map(|(key, accepted)| (key.clone(), accepted.located()))
        .collect()
}

impl State {
    /// What would become of an object of the Kubernetes API if it came now, `now` being the moment. Takes the time of a compilation of
    /// the whole mesh, off the async threads if the caller is wise.
    pub fn judge(&self, object: &Value, now: SystemTime) -> Judged {
        let configuration = self.0.configuration.load_full();
        let known = self.0.candidates.of(&configuration);
        let (mut judged, next) = judge(&configuration.world, &known, object, now);
        if let Some(next) = next {
            let remarks = self.remarks_on_callers(&configuration, &next);
            judged.warnings.extend(remarks);
        }
        judged
    }

    /// Whether an object of that name is in force.
    pub fn has_object(&self, key: &ObjectKey) -> bool {
        let configuration = self.0.configuration.load();
        configuration.world.objects.contains_key(key)
    }
}

/// With the world that it would make, if it is not refused.
fn judge(world: &World, known: &All, object: &Value, now: SystemTime) -> (Judged, Option<World>) {
    let file = Path::new(NAME);
    let alone = parse_object(Vec::new(), file, object);
    let accepted = alone.objects.first().map(|located| located.object.key());
    let rejected = alone.rejected.first().map(|rejected| rejected.key.clone());
    let key = accepted.or(rejected);
    let others = known
        .iter()
        .filter(|(other, _)| Some(*other) != key.as_ref());
    let others = others.map(|(_, located)| Arc::clone(located)).collect();
    let parsed = parse_object(others, file, object);
    let reading = world.read(&parsed, Path::new(""), now);
    let mistakes = reading.rejected.into_iter().flat_map(|one| one.mistakes);
    let mistakes: Vec<MistakeReport> = mistakes.filter(|one| is_here(&one.at)).collect();
    if !mistakes.is_empty() {
        let warnings = parsed.mistakes.iter().filter(|one| is_warning(one));
        let refused = Judged {
            mistakes,
            warnings: warnings.map(said).collect(),
        };
        return (refused, None);
    }
    let by_age: Vec<String> = parsed.mistakes.iter().filter_map(other_place).collect();
    let remarks = reading.remarks.of(&reading.world).iter();
    let remarks = remarks.filter_map(|remark| without_place(&remark.message));
    let is_told = |said: &String| !by_age.iter().any(|place| said.ends_with(place.as_str()));
    let mut warnings: Vec<String> = remarks.filter(is_told).collect();
    if let Some(key) = key {
        let findings = compile(&reading.world).findings.into_iter();
        let about_it = findings.filter(|finding| finding.object == key && is_news(finding));
        warnings.extend(about_it.map(|one| format!("{}: {}", one.reason.as_str(), one.message)));
    }
    (Judged { mistakes, warnings }, Some(reading.world))
}

fn is_here(at: &str) -> bool {
    at.strip_prefix(NAME)
        .is_some_and(|rest| rest.starts_with(':'))
}

fn is_warning(mistake: &Mistake) -> bool {
    mistake.severity == Severity::Warning && mistake.file == Path::new(NAME)
}

fn said(mistake: &Mistake) -> String {
    let Mistake {
        field,
        found,
        allowed,
        nearest,
        ..
    } = mistake;
    let said = format!("{field}: found {found}, allowed: {allowed}");
    match nearest {
        Some(nearest) => format!("{said}; did you mean `{nearest}`?"),
        None => said,
    }
}

/// Of a remark about the candidate, what it says: where in a line of JSON helps nobody.
fn without_place(message: &str) -> Option<String> {
    let (place, said) = message.split_once(": ")?;
    is_here(place).then(|| said.to_owned())
}

/// Of a mistake that takes another object, how what is said of it ends. Only the compiler knows which of the two came first, and says it
/// himself of the later one.
fn other_place(mistake: &Mistake) -> Option<String> {
    let related = mistake.related.as_ref()?;
    let (file, line) = (related.file.display(), related.position.line);
    let is_other = related.file != Path::new(NAME);
    is_other.then(|| match line {
        0 => format!("({}: {file})", related.label),
        line => format!("({}: {file}:{line})", related.label),
    })
}

/// Whether the compiler alone says it. What it names has been looked for before, and its field was told.
fn is_news(finding: &Finding) -> bool {
    !matches!(
        finding.reason,
        Reason::TargetNotFound | Reason::RefNotResolved | Reason::RefNotPermitted | Reason::NoKeys
    )
}

#[cfg(test)]
mod tests;
