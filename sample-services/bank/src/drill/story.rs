//! One drill while it is played: its bank, what it saw, what it promised and did not keep.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::bail;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::sleep;

use crate::{
    bank::{Bank, explain},
    output,
};

/// How often something that shall come to be is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a drill works with.
#[derive(Debug)]
pub(crate) struct Story {
    name: String,
    pub(crate) bank: Bank,
    saw: Map<String, Value>,
    failures: Vec<String>,
    /// What is said goes to standard error then: standard output is for the reports.
    json: bool,
}

/// What all drills of one call found: the document of `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Reports {
    /// Each of them did.
    pub(crate) held: bool,
    pub(crate) seconds: f64,
    pub(crate) drills: Vec<Report>,
}

/// What a drill found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) held: bool,
    pub(crate) seconds: f64,
    pub(crate) saw: Map<String, Value>,
    pub(crate) failures: Vec<String>,
}

impl Story {
    pub(crate) fn new(name: String, bank: Bank, json: bool) -> Self {
        Self {
            name,
            bank,
            saw: Map::new(),
            failures: Vec::new(),
            json,
        }
    }

    /// Tells people what is done now.
    pub(crate) fn say(&self, what: impl Display) {
        say(self.json, &self.name, &what.to_string());
    }

    /// A function that tells, for those who borrow the bank meanwhile.
    pub(crate) fn voice(&self) -> impl Fn(&str) + Sync + use<> {
        let (json, name) = (self.json, self.name.clone());
        move |what| say(json, &name, what)
    }

    /// Notes what was seen, for the report.
    pub(crate) fn saw(&mut self, what: &str, value: impl Into<Value>) {
        let value = value.into();
        self.say(format!("saw {what}: {value}"));
        self.saw.insert(what.to_owned(), value);
    }

    /// A promise: when it does not hold, the drill fails, and goes on to see more.
    pub(crate) fn require(&mut self, holds: bool, promise: impl Display) {
        if !holds {
            self.fail(format!("not so: {promise}"));
        }
    }

    pub(crate) fn fail(&mut self, failure: String) {
        self.say(&failure);
        self.failures.push(failure);
    }

    /// Waits until `look` answers true, and tells how long that took.
    ///
    /// # Errors
    /// When it doesn't within `limit`, or looking fails.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut(&mut Bank) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !look(&mut self.bank).await? {
            if begun.elapsed() > limit {
                bail!("not within {limit:?}: {what}");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(begun.elapsed())
    }

    /// Whoever ended without being asked fails the drill.
    pub(crate) fn nobody_died(&mut self) {
        for death in self.bank.deaths() {
            self.fail(explain(&death));
        }
    }

    /// Closes the bank and sums up.
    pub(crate) async fn finish(mut self, begun: Instant, keep: bool) -> Report {
        let voice = self.voice();
        self.bank.close(&voice).await;
        let held = self.failures.is_empty();
        if !held && keep {
            self.bank.layout.keep();
            self.say(format!("kept {}", self.bank.layout.root().display()));
        }
        let seconds = seconds(begun.elapsed());
        Report {
            name: self.name,
            held,
            seconds,
            saw: self.saw,
            failures: self.failures,
        }
    }
}

impl Reports {
    /// Sums up. Drills that were asked for and not played did not hold.
    pub(crate) fn of(drills: Vec<Report>, asked: usize, took: Duration) -> Self {
        Self {
            held: drills.len() == asked && drills.iter().all(|drill| drill.held),
            seconds: seconds(took),
            drills,
        }
    }

    /// The last line of several drills on a terminal.
    pub(crate) fn for_people(&self) -> String {
        let held = self.drills.iter().filter(|drill| drill.held).count();
        format!("{held} of {} drills held", self.drills.len())
    }
}

impl Report {
    /// The last lines of a drill on a terminal.
    pub(crate) fn for_people(&self) -> String {
        let verdict = if self.held { "held" } else { "DID NOT HOLD" };
        let mut text = format!("{}: {verdict} after {} s", self.name, self.seconds);
        for failure in &self.failures {
            text.push_str(&format!("\n  {failure}"));
        }
        text
    }
}

/// To a tenth: what is seen by looking every few milliseconds is no more exact.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

fn say(json: bool, name: &str, what: &str) {
    if json {
        output::trouble(&format!("{name}: {what}"));
    } else {
        output::line(&format!("{name}: {what}"));
    }
}

#[cfg(test)]
mod tests;
