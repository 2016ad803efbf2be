//! What is said of a route that loses requests to another: which part of it, to whom, and why.

use std::collections::BTreeMap;

use usher_config::{decide::route::covers, kind::ObjectKey};

use super::{Parent, Reached, Shadow, object_of};
use crate::{
    compile::{Compiled, Finding, Reason, described, rule_of},
    registry::World,
};

/// How many rules, matches or places one line names.
const NAMED_MAX: usize = 3;

/// How many different causes are looked for: a route may have thousands.
const CAUSES_MAX: usize = 64;

/// Why one of two equal routes of one age is asked first.
pub const FIRST_BY_NAME: &str = "is as old and the first by name";

/// What is said, and about which of them.
pub type Told<'s, 'c> = (Finding, Vec<&'s Shadow<'c>>);

/// Of each route one line where nothing is left of it, else one for each rule that loses something. `shadows`: all.
pub fn told<'s, 'c>(
    world: &World,
    compiled: &'c Compiled,
    shadows: &'s [Shadow<'c>],
) -> Vec<Told<'s, 'c>> {
    type Rules<'s, 'c> = BTreeMap<&'s str, Vec<&'s Shadow<'c>>>;
    let mut told = Vec::new();
    let reached = Reached::new(compiled, shadows);
    let mut objects: BTreeMap<&str, Rules<'_, '_>> = BTreeMap::new();
    for shadow in shadows {
        let label = &*shadow.route.name;
        let rules = objects.entry(object_of(label)).or_default();
        rules.entry(label).or_default().push(shadow);
    }
    for (object, rules) in objects {
        if !reached.objects.contains(object) {
            let all: Vec<&Shadow<'_>> = rules.into_values().flatten().collect();
            let finding = finding(world, &all, |_| "no request reaches it".to_owned());
            told.extend(finding.map(|finding| (finding, all)));
            continue;
        }
        for (label, rule) in rules {
            let finding = finding(world, &rule, |number| match reached.rules.contains(label) {
                false => format!("no request reaches its rule {number}"),
                true => format!("its rule {number} does not get all that it matches"),
            });
            told.extend(finding.map(|finding| (finding, rule)));
        }
    }
    told
}

/// `lead`: of a rule, what becomes of it.
fn finding(
    world: &World,
    shadows: &[&Shadow<'_>],
    lead: impl FnOnce(&str) -> String,
) -> Option<Finding> {
    let (object, rule) = rule_of(&shadows.first()?.route.name)?;
    let causes = causes(world, &object, shadows);
    let message = format!(
        "{}: {}; delete it, or let it match something else",
        lead(rule),
        named(&causes, "; ")
    );
    Some(Finding {
        object,
        reason: Reason::Shadowed,
        message,
    })
}

/// Who takes the requests, why, and where.
fn causes(world: &World, object: &ObjectKey, shadows: &[&Shadow<'_>]) -> Vec<String> {
    let mut causes: Vec<(String, Vec<String>)> = Vec::new();
    for shadow in shadows {
        let Some(cause) = cause(world, object, shadow) else {
            continue;
        };
        let place = shadow.place();
        let is_full = causes.len() >= CAUSES_MAX;
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, places)) if places.contains(&place) => {}
            Some((_, places)) => places.push(place),
            None if is_full => {}
            None => causes.push((cause, vec![place])),
        }
    }
    let line = |(cause, places): &(String, Vec<String>)| {
        format!("{cause} (at {})", named(places, ", at "))
    };
    causes.iter().map(line).collect()
}

fn cause(
    world: &World,
    object: &ObjectKey,
    Shadow { route, by, .. }: &Shadow<'_>,
) -> Option<String> {
    let (other, number) = rule_of(&by.name)?;
    let who = match other == *object {
        true => format!("its rule {number}"),
        false => format!("rule {number} of {other}"),
    };
    let (own, theirs) = (described(&route.matches), described(&by.matches));
    if !covers(&route.matches, &by.matches) {
        return Some(format!(
            "{who} takes all of `{own}` with `{theirs}`, which is asked first"
        ));
    }
    let age = |key: &ObjectKey| world.objects.get(key).map(|one| one.accepted_at);
    let why = match other == *object {
        true => "stands before it",
        false if age(&other) < age(object) => "is older",
        false => FIRST_BY_NAME,
    };
    Some(format!("{who} has the same match, `{own}`, and {why}"))
}

/// The first of them, and how many more.
pub(super) fn named(all: &[String], between: &str) -> String {
    let first: Vec<&str> = all.iter().take(NAMED_MAX).map(String::as_str).collect();
    match all.len().saturating_sub(NAMED_MAX) {
        0 => first.join(between),
        more => format!("{} and {more} more", first.join(between)),
    }
}

impl Shadow<'_> {
    /// `Service bank/a`, `port 8080 of Service bank/a`, `listener web of Gateway bank/edge for a.example`.
    pub fn place(&self) -> String {
        match (self.parent, self.ports.as_slice()) {
            (Parent::Service(name), []) => format!("Service {name}"),
            (Parent::Service(name), ports) => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                format!("port {} of Service {name}", named(&ports, ", "))
            }
            (Parent::Listener(gateway, listener), _) => {
                let mut hosts = self.route.hostnames.iter();
                let host = hosts.next().map(|host| format!(" for {host}"));
                let host = host.unwrap_or_default();
                format!("listener {listener} of Gateway {gateway}{host}")
            }
        }
    }
}
