//! Requests that a rule matches, and another one gets.

use serde::Serialize;
use usher_config::model::Route;

use super::Known;
use crate::compile::{
    described,
    shadow::{Dead, Shadow, shadows},
};

/// One match of a rule that another rule is asked for first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// `path /x…, method GET`
    pub matches: String,
    /// `port 8080 of Service namespace/name`
    pub parent: String,
    /// Who gets all of it: `Kind namespace/name`
    pub by: String,
    /// Its rule, by name, else by number.
    pub rule: String,
    /// Where that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// All that rules lose to one another.
pub(super) struct Lost<'k> {
    known: Known<'k>,
    shadows: Vec<Shadow<'k>>,
    dead: Dead,
}

impl<'k> Lost<'k> {
    pub(super) fn new(known: Known<'k>) -> Self {
        let shadows = shadows(known.compiled);
        Self {
            known,
            dead: Dead::new(&shadows),
            shadows,
        }
    }

    /// Of one compiled match, whose words are given: whether it takes anything, and what is taken from it. `None`: it is for
    /// connections; what others have of those is not compiled at all.
    pub(super) fn add(
        &self,
        (route, words): (Option<&Route>, String),
        takes: &mut Vec<String>,
        taken: &mut Vec<Taken>,
    ) {
        let is_dead = route.is_some_and(|route| self.dead.has(route));
        if !is_dead && !takes.contains(&words) {
            takes.push(words);
        }
        let own = self.shadows.iter();
        let own = own.filter(|one| route.is_some_and(|route| std::ptr::eq(one.route, route)));
        for shadow in own {
            let one = self.taken(shadow);
            if !taken.contains(&one) {
                taken.push(one);
            }
        }
    }

    fn taken(&self, shadow: &Shadow<'_>) -> Taken {
        let by = self.known.places.of_rule(&shadow.by.name);
        let (by, rule, at) = by.map_or_else(
            || (shadow.by.name.to_string(), String::new(), None),
            |(key, rule, at)| (key.to_string(), rule, at),
        );
        Taken {
            matches: described(&shadow.route.matches),
            parent: shadow.place(),
            by,
            rule,
            at,
        }
    }
}
