//! What was measured of a mesh, beside the bars that it is to meet: a table, JSON, and a chart.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Scale,
    measured::{Deploy, Reached, Storm},
    plan::FEW,
};
use crate::{
    chart,
    comparison::{Comparison, Figure, Turn},
    process::real,
    statistics::percentile,
};

const PER_CHANGE: Figure = Figure::less("control plane's CPU µs per change", 0);

/// CPU of one change, in µs.
pub(super) struct Cost {
    pub(super) sidecars: usize,
    /// To a service of [`FEW`] subscribers.
    pub(super) few: f64,
    /// To one of as many as there are sidecars.
    pub(super) everybody: f64,
}

/// Filled in as the run goes.
pub(super) struct Report {
    arguments: Scale,
    /// With nobody connected: at first, and after all had been there once.
    rss_empty_kib: u64,
    pub(super) rss_emptied_kib: u64,
    pub(super) rss_crowded_kib: u64,
    pub(super) rss_end_kib: u64,
    pub(super) costs: Vec<Cost>,
    pub(super) storm: Option<Storm>,
    pub(super) idle_cores: f64,
    pub(super) joins: Vec<Duration>,
    pub(super) attested_joins: Vec<Duration>,
    pub(super) endpoints: Reached,
    pub(super) common: Reached,
    pub(super) routes: Reached,
    pub(super) deploy: Option<Deploy>,
    pub(super) failures: Vec<(String, u64)>,
    pub(super) lost_leases: u64,
    pub(super) told_batches: f64,
}

/// One line of the table.
struct Line {
    what: &'static str,
    value: String,
    /// What is asked of it, and whether it is so; `None`: nothing of the kind was measured.
    bar: Option<(&'static str, Option<bool>)>,
}

fn millis(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}

/// p50, p99 and the most, in ms; `None` of nothing.
fn spread(values: &[Duration]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort();
    let at = |percent| percentile(&sorted, percent).map(millis);
    Some([at(50.0)?, at(99.0)?, at(100.0)?])
}

fn shown(values: &[Duration]) -> String {
    match spread(values) {
        None => "not measured".to_owned(),
        Some([p50, p99, most]) => format!("p50 {p50:.1}, p99 {p99:.1}, max {most:.1} ms"),
    }
}

/// Whether the 99th percentile is within so many ms.
fn within(values: &[Duration], most: f64) -> Option<bool> {
    spread(values).map(|[_, p99, _]| p99 <= most)
}

impl Report {
    pub(super) fn new(arguments: &Scale, rss_empty_kib: u64) -> Self {
        Self {
            arguments: arguments.clone(),
            rss_empty_kib,
            rss_emptied_kib: 0,
            rss_crowded_kib: 0,
            rss_end_kib: 0,
            costs: Vec::new(),
            storm: None,
            idle_cores: 0.0,
            joins: Vec::new(),
            attested_joins: Vec::new(),
            endpoints: Reached::default(),
            common: Reached::default(),
            routes: Reached::default(),
            deploy: None,
            failures: Vec::new(),
            lost_leases: 0,
            told_batches: 0.0,
        }
    }

    /// From nobody at all, so that what earlier crowds left behind counts.
    fn kib_per_sidecar(&self) -> f64 {
        let more = self.rss_crowded_kib.saturating_sub(self.rss_empty_kib);
        real(more) / real(self.arguments.sidecars.max(1) as u64)
    }

    fn lines(&self) -> Vec<Line> {
        let line = |what, value: String| Line {
            what,
            value,
            bar: None,
        };
        let memory = self.kib_per_sidecar();
        let mut lines = Vec::new();
        let storm = self.storm.as_ref().map(Storm::told);
        lines.extend(storm.map(|value| line("all connect at once", value)));
        lines.push(Line {
            what: "start to first snapshot",
            value: shown(&self.joins),
            bar: Some(("p99 ≤ 50 ms", within(&self.joins, 50.0))),
        });
        lines.push(line(
            "the same with attestation",
            shown(&self.attested_joins),
        ));
        lines.push(Line {
            what: "endpoint change",
            value: shown(&self.endpoints.each),
            bar: Some(("p99 ≤ 250 ms", within(&self.endpoints.each, 250.0))),
        });
        lines.push(line(
            "one that concerns everybody",
            shown(&self.common.each),
        ));
        lines.push(Line {
            what: "route change",
            value: shown(&self.routes.each),
            bar: Some(("p99 ≤ 250 ms", within(&self.routes.each, 250.0))),
        });
        lines.push(line("of it: reading", self.accepted(|one| one.read)));
        lines.push(line("of it: deciding", self.accepted(|one| one.decided)));
        if let Some(deploy) = &self.deploy {
            lines.push(Line {
                what: "rolling deploy",
                value: format!(
                    "{:.2} cores over {:.0} s, {:.2} before it; {} batches to sidecars; leaving: {}, {} unconfirmed",
                    deploy.cores,
                    deploy.took.as_secs_f64(),
                    deploy.cores_before,
                    deploy.batches,
                    shown(&deploy.left),
                    deploy.unconfirmed,
                ),
                bar: Some(("< 1 core", Some(deploy.cores < 1.0))),
            });
        }
        lines.push(line(
            "nothing happens",
            format!("{:.2} cores", self.idle_cores),
        ));
        lines.push(Line {
            what: "memory per sidecar",
            value: format!(
                "{memory:.1} KiB: {} MiB with nobody, {} with all ({} when all had left once, {} at the end)",
                self.rss_empty_kib / 1024,
                self.rss_crowded_kib / 1024,
                self.rss_emptied_kib / 1024,
                self.rss_end_kib / 1024
            ),
            bar: Some(("≤ 100 KiB", Some(memory <= 100.0))),
        });
        lines
    }

    fn accepted(&self, part: impl Fn(&super::log::Accepted) -> Duration) -> String {
        let values: Vec<Duration> = self.routes.accepted.iter().map(part).collect();
        shown(&values)
    }

    pub(super) fn print(&self) {
        let Scale {
            sidecars,
            services,
            endpoints,
            uses,
            ..
        } = self.arguments;
        println!(
            "\n{sidecars} sidecars, {uses} of {services} services each, {endpoints} endpoints\n"
        );
        for Line { what, value, bar } in self.lines() {
            let bar = match bar {
                None => String::new(),
                Some((bar, Some(true))) => format!("  [{bar}: met]"),
                Some((bar, Some(false))) => format!("  [{bar}: MISSED]"),
                Some((bar, None)) => format!("  [{bar}: not measured]"),
            };
            println!("{what:<28} {value}{bar}");
        }
        for comparison in self.comparisons() {
            println!("\n{}", comparison.table());
        }
        if self.lost_leases > 0 {
            println!(
                "{} leases ended: the machine is too busy for this run",
                self.lost_leases
            );
        }
        for (why, count) in &self.failures {
            println!("{count} connections ended: {why}");
        }
    }

    /// What is asked and is not so.
    pub(super) fn missed(&self) -> Vec<String> {
        let missed = self.lines().into_iter();
        let missed = missed.filter_map(|line| match line.bar {
            Some((bar, Some(false))) => Some(format!("{} ({bar})", line.what)),
            _ => None,
        });
        missed.collect()
    }

    pub(super) fn svg(&self) -> String {
        chart::svg(&self.comparisons())
    }

    fn comparisons(&self) -> Vec<Comparison> {
        let few = format!("A change with {FEW} subscribers");
        let compare = |title: String, of: fn(&Cost) -> f64| {
            let conditions =
                "above what it takes when nothing changes; median of rounds of 16 changes"
                    .to_owned();
            let mut comparison = Comparison::new(title, conditions, &[PER_CHANGE]);
            for cost in &self.costs {
                let turn = Turn {
                    values: vec![(PER_CHANGE, of(cost))],
                    errors: 0,
                };
                comparison.record(&format!("{} sidecars", cost.sidecars), turn);
            }
            comparison
        };
        if self.costs.is_empty() {
            return Vec::new();
        }
        vec![
            compare(few, |cost| cost.few),
            compare("A change for every sidecar".to_owned(), |cost| {
                cost.everybody
            }),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let figures = |values: &[Duration]| {
            let [p50, p99, max] = spread(values).map_or([None; 3], |all| all.map(Some));
            json!({ "count": values.len(), "p50_ms": p50, "p99_ms": p99, "max_ms": max })
        };
        let reached = |reached: &Reached| json!({ "each": figures(&reached.each), "last": figures(&reached.last) });
        let accepted = |part: fn(&super::log::Accepted) -> Duration| {
            let values: Vec<Duration> = self.routes.accepted.iter().map(part).collect();
            figures(&values)
        };
        let bars = self.lines().into_iter();
        let bars = bars.filter_map(|line| Some((line.what.to_owned(), json!(line.bar?.1))));
        json!({
            "sidecars": self.arguments.sidecars,
            "services": self.arguments.services,
            "endpoints": self.arguments.endpoints,
            "uses": self.arguments.uses,
            "storm": self.storm.as_ref().map(|storm| json!({
                "all_s": storm.all.as_secs_f64(),
                "each": figures(&storm.each),
                "cpu_s": storm.cpu.as_secs_f64(),
                "cores_peak": storm.cores_peak,
                "rss_peak_kib": storm.rss_peak_kib,
                "failures": storm.failures,
            })),
            "joins": figures(&self.joins),
            "attested_joins": figures(&self.attested_joins),
            "endpoint_change": reached(&self.endpoints),
            "change_for_everybody": reached(&self.common),
            "route_change": reached(&self.routes),
            "route_change_read": accepted(|one| one.read),
            "route_change_decided": accepted(|one| one.decided),
            "deploy": self.deploy.as_ref().map(|deploy| json!({
                "seconds": deploy.took.as_secs_f64(),
                "cores": deploy.cores,
                "cores_before": deploy.cores_before,
                "batches": deploy.batches,
                "unconfirmed": deploy.unconfirmed,
                "left": figures(&deploy.left),
            })),
            "idle_cores": self.idle_cores,
            "kib_per_sidecar": self.kib_per_sidecar(),
            "rss_kib": {
                "empty": self.rss_empty_kib,
                "emptied": self.rss_emptied_kib,
                "crowded": self.rss_crowded_kib,
                "end": self.rss_end_kib,
            },
            "costs": self.costs.iter().map(|cost| json!({
                "sidecars": cost.sidecars,
                "few_us": cost.few,
                "everybody_us": cost.everybody,
            })).collect::<Vec<_>>(),
            "failures": self.failures,
            "lost_leases": self.lost_leases,
            "batches": self.told_batches,
            "bars": bars.collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl Storm {
    /// In a line.
    pub(super) fn told(&self) -> String {
        let failed: u64 = self.failures.iter().map(|(_, count)| count).sum();
        format!(
            "all have a snapshot after {:.1} s; {failed} connections failed and came again; {:.1} s of CPU, {:.2} cores at \
             most, {} MiB at most",
            self.all.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.cores_peak,
            self.rss_peak_kib / 1024
        )
    }
}
